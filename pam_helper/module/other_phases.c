/*
 * The entry points of PAM that a second factor has no part in.
 *
 * All six stand here and in pam_twofold.c, because a missing one makes libpam fail the whole stack. Setting credentials
 * succeeds: libpam walks the auth stack again for it, and any other answer would refuse a login that was accepted
 * (pam_sm_setcred has nothing to give and nothing to check). Account, session and password are none of our business:
 * PAM_IGNORE leaves them to the other modules, so passwd goes on working when the module was put into common-password;
 * and a stack of nothing but ignoring modules is refused by libpam itself, so nothing is let in by it.
 */
#include <security/pam_modules.h>

#define EXPORTED __attribute__((visibility("default")))
#define UNUSED __attribute__((unused))

EXPORTED int pam_sm_setcred(pam_handle_t *pamh UNUSED, int flags UNUSED, int argc UNUSED, const char **argv UNUSED)
{
    return PAM_SUCCESS;
}

EXPORTED int pam_sm_acct_mgmt(pam_handle_t *pamh UNUSED, int flags UNUSED, int argc UNUSED, const char **argv UNUSED)
{
    return PAM_IGNORE;
}

EXPORTED int pam_sm_open_session(pam_handle_t *pamh UNUSED, int flags UNUSED, int argc UNUSED, const char **argv UNUSED)
{
    return PAM_IGNORE;
}

EXPORTED int pam_sm_close_session(pam_handle_t *pamh UNUSED, int flags UNUSED, int argc UNUSED,
                                  const char **argv UNUSED)
{
    return PAM_IGNORE;
}

EXPORTED int pam_sm_chauthtok(pam_handle_t *pamh UNUSED, int flags UNUSED, int argc UNUSED, const char **argv UNUSED)
{
    return PAM_IGNORE;
}

/*
 * A PAM module for the stacks of tests. Its options say what it does when it is asked to authenticate:
 * user=NAME sets PAM_USER, authtok_xor=HEX sets PAM_AUTHTOK (each octet ^ 0x55, so that no plain copy stands in
 * memory), show tells PAM_USER and PAM_AUTHTOK to the user. It returns PAM_IGNORE.
 */
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdio.h>
#include <string.h>

static void set_authtok(pam_handle_t *pamh, const char *hex)
{
    char plain[1024] = "";
    unsigned int octet;
    for (size_t i = 0; i + 1 < sizeof plain && sscanf(hex + 2 * i, "%2x", &octet) == 1; i++)
        plain[i] = (char)(octet ^ 0x55);
    pam_set_item(pamh, PAM_AUTHTOK, plain);
    explicit_bzero(plain, sizeof plain);
}

static void show(pam_handle_t *pamh)
{
    const void *user = NULL, *authtok = NULL;
    pam_get_item(pamh, PAM_USER, &user);
    pam_get_item(pamh, PAM_AUTHTOK, &authtok);
    pam_info(pamh, "user=%s authtok=%s", user ? (const char *)user : "-", authtok ? (const char *)authtok : "-");
}

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)flags;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "user=", 5) == 0)
            pam_set_item(pamh, PAM_USER, argv[i] + 5);
        else if (strncmp(argv[i], "authtok_xor=", 12) == 0)
            set_authtok(pamh, argv[i] + 12);
        else if (strcmp(argv[i], "show") == 0)
            show(pamh);
    }
    return PAM_IGNORE;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    (void)pamh, (void)flags, (void)argc, (void)argv;
    return PAM_SUCCESS;
}

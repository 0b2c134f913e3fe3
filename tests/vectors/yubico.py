"""Yubico OTPs with the keys that made them: what other programs are tested with (numbers only).

Sources: Yubico/yubico-c test-vectors.txt; Yubico/yubikey-ksm selftest.sh; FreeRADIUS src/tests/modules/yubikey;
privacyidea tests/test_lib_tokens_yubikey.py.
"""

from typing import NamedTuple

MODHEX = [  # octets as hex, as modhex
    ("2d344e83", "dteffuje"),
    ("69b6481c8baba2b60e8f22179b58cd56", "hknhfjbrjnlnldnhcujvddbikngjrtgh"),
    ("ecde18dbe76fbd0c33330f1c354871db", "urtubjtnuihvntcreeeecvbregfjibtn"),
    ("74657374", "ifhgieif"),
]


class Key(NamedTuple):
    aes: str
    private_id: str
    public_id: str


class Otp(NamedTuple):
    text: str
    counter: int
    use: int


YUBICO_C = (
    Key("ecde18dbe76fbd0c33330f1c354871db", "8792ebfe26cc", "dteffuje"),
    [
        Otp("dteffujehknhfjbrjnlnldnhcujvddbikngjrtgh", 19, 17),
    ],
)
KSM = (
    Key("c68c9df8cbfe7d2f994cb904046c7218", "609963eae7b5", "idkfefrdhtru"),
    [
        Otp("idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgku", 1, 0),
    ],
)
FREERADIUS = (
    Key("b8c56af07ff79b2230e04ab8891784ce", "1dfc67f97828", "ddddgciilcjk"),
    [
        Otp("ddddgciilcjkjhlifidginuirlhgidcvbfnutjnibldi", 1, 2),
    ],
)
CHAIN = (
    Key("9163508031b20d2fbb1868954e041729", "adb0ee7dd24a", "ecebeeejedecebeg"),
    [
        Otp("ecebeeejedecebegfcniufvgvjturjgvinhebbbertjnihit", 1, 0),
        Otp("ecebeeejedecebegtbkfkdhnfjbjnkcbtbcckklhvgkljifu", 1, 1),
        Otp("ecebeeejedecebegktvkekfgufndgbfvctgfrrkinergbtdj", 1, 2),
        Otp("ecebeeejedecebegjbefledlhkvjjcibvrdfcfetnjdjitrn", 1, 3),
        Otp("ecebeeejedecebegdruecevifbfufgdegglttghghhvhjcbh", 1, 4),
        Otp("ecebeeejedecebegnvfnejvhkcililuvhntcrrulrfcrukll", 1, 5),
        Otp("ecebeeejedecebegkttkktdergcenthdredlvbkiulrkftuk", 1, 6),
        Otp("ecebeeejedecebeghutbgchjucnjnhlcnfijckbniegbglrt", 2, 0),
        Otp("ecebeeejedecebegvneienejjnedbfnjnnrfhhjudjgghckl", 2, 1),
        Otp("ecebeeejedecebegkrgevltjnujcnuhtngjndbhbiiufbnki", 2, 2),
        Otp("ecebeeejedecebegkehbefcrnlfejedfdulubuldfbhdlicc", 3, 0),
        Otp("ecebeeejedecebegljlhjbkejkctubnejrhuvljkvglvvlbk", 3, 1),
        Otp("ecebeeejedecebegeihtnehtetluntirtirrvblfkttbjuih", 3, 2),
    ],
)
ZERO_PRIVATE_ID = (
    Key("cc17a4d77eaed96e9d14b5c87a02e718", "000000000000", "ebedeeefegeheiej"),
    [
        Otp("ebedeeefegeheiejtjtrutblehenfjljrirgdihrfuetljtt", 1, 0),
        Otp("ebedeeefegeheiejlekvlrlkrcluvctenlnnjfknrhgtjned", 1, 1),
        Otp("ebedeeefegeheiejktudedbktcnbuntrhdueikggtrugckij", 1, 2),
        Otp("ebedeeefegeheiejjvjncbnffdrvjcvrbgdfufjgndfetieu", 1, 3),
        Otp("ebedeeefegeheiejdruibhvlvktcgfjiruhltketifnitbuk", 1, 4),
    ],
)
ALL = [YUBICO_C, KSM, FREERADIUS, CHAIN, ZERO_PRIVATE_ID]

# One character of the OTP of KSM is another: the checksum does not fit.
CORRUPT = "idkfefrdhtrutjduvtcjbfeuvhehdvjjlbchtlenfgkv"

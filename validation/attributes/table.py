"""Which attributes may be set for an Access-Accept, by name, number and type.

Rules: an attribute stands here if gateways use it in an Access-Accept and nothing in it is secret: a reply travels
unencrypted. Names are those of the RFCs and of FreeRADIUS's dictionaries, which most documents use; the attributes of
Cisco's ASA and of its VPN 3000 are one vendor, 3076, and are called `ASA-…` here. `many` is RFC 2865 5.44 ("0+") and
the like tables of later RFCs; a vendor's attribute may stand several times where its documents say so.
"""

from dataclasses import dataclass

from validation.attributes.kinds import (
    Choice,
    Ipv4Address,
    Ipv4Netmask,
    Ipv6Address,
    Ipv6Prefix,
    Kind,
    Number,
    Octets,
    Text,
)

CISCO, MICROSOFT, JUNIPER, ASA, CITRIX = 9, 311, 2636, 3076, 66
FORTINET, MIKROTIK, PALO_ALTO = 12356, 14988, 25461

TEXT, NUMBER, IPV4, IPV6 = Text(), Number(), Ipv4Address(), Ipv6Address()


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute that may be set: `vendor` 0 is RADIUS itself, `number` its type there or at the vendor. `many`
    says whether several may stand in one Accept; of a tagged one, one for each tag. `tag` 0 is none."""

    name: str
    number: int
    kind: Kind
    many: bool = False
    vendor: int = 0
    tagged: bool = False
    tag: int = 0

    @property
    def type_name(self) -> str:
        """The type in words, for a listing."""
        return self.kind.type_name


# RFC 2865 5.6 and 5.10: without those that only a request can hold (Authenticate-Only, Call-Check).
_SERVICE_TYPE = Choice(
    {
        "Login-User": 1,
        "Framed-User": 2,
        "Callback-Login-User": 3,
        "Callback-Framed-User": 4,
        "Outbound-User": 5,
        "Administrative-User": 6,
        "NAS-Prompt-User": 7,
        "Callback-NAS-Prompt": 9,
        "Callback-Administrative": 11,
    }
)
_FRAMED_PROTOCOL = Choice(
    {"PPP": 1, "SLIP": 2, "ARAP": 3, "Gandalf-SLML": 4, "Xylogics-IPX-SLIP": 5, "X.75-Synchronous": 6}
)
_FRAMED_ROUTING = Choice({"None": 0, "Broadcast": 1, "Listen": 2, "Broadcast-Listen": 3})
_FRAMED_COMPRESSION = Choice({"None": 0, "Van-Jacobson-TCP-IP": 1, "IPX-Header-Compression": 2, "Stac-LZS": 3})
_LOGIN_SERVICE = Choice(
    {
        "Telnet": 0,
        "Rlogin": 1,
        "TCP-Clear": 2,
        "PortMaster": 3,
        "LAT": 4,
        "X25-PAD": 5,
        "X25-T3POS": 6,
        "TCP-Clear-Quiet": 8,
    }
)
_TERMINATION_ACTION = Choice({"Default": 0, "RADIUS-Request": 1})
# RFC 2868 3.1 and 3.2; VLAN and IEEE-802 as RFC 3580 3.31 uses them.
_TUNNEL_TYPE = Choice(
    {
        "PPTP": 1,
        "L2F": 2,
        "L2TP": 3,
        "ATMP": 4,
        "VTP": 5,
        "AH": 6,
        "IP": 7,
        "MIN-IP": 8,
        "ESP": 9,
        "GRE": 10,
        "DVS": 11,
        "IP-in-IP": 12,
        "VLAN": 13,
    }
)
_TUNNEL_MEDIUM = Choice(
    {
        "IPv4": 1,
        "IPv6": 2,
        "NSAP": 3,
        "HDLC": 4,
        "BBN-1822": 5,
        "IEEE-802": 6,
        "E.163": 7,
        "E.164": 8,
        "F.69": 9,
        "X.121": 10,
        "IPX": 11,
        "Appletalk": 12,
        "DecNet-IV": 13,
        "Banyan-Vines": 14,
        "E.164-NSAP": 15,
    }
)

_STANDARD = (
    # RFC 2865 5
    Attribute("Service-Type", 6, _SERVICE_TYPE),
    Attribute("Framed-Protocol", 7, _FRAMED_PROTOCOL),
    Attribute("Framed-IP-Address", 8, IPV4),
    Attribute("Framed-IP-Netmask", 9, Ipv4Netmask()),
    Attribute("Framed-Routing", 10, _FRAMED_ROUTING),
    Attribute("Filter-Id", 11, TEXT, many=True),
    Attribute("Framed-MTU", 12, Number(64, 65535)),  # 5.12
    Attribute("Framed-Compression", 13, _FRAMED_COMPRESSION, many=True),
    Attribute("Login-IP-Host", 14, IPV4, many=True),
    Attribute("Login-Service", 15, _LOGIN_SERVICE),
    Attribute("Login-TCP-Port", 16, Number(0, 65535)),  # 5.16
    Attribute("Framed-Route", 22, TEXT, many=True),
    Attribute("Class", 25, Octets(), many=True),
    Attribute("Session-Timeout", 27, NUMBER),
    Attribute("Idle-Timeout", 28, NUMBER),
    Attribute("Termination-Action", 29, _TERMINATION_ACTION),
    Attribute("Port-Limit", 62, NUMBER),
    # RFC 2868 3
    Attribute("Tunnel-Type", 64, _TUNNEL_TYPE, tagged=True),
    Attribute("Tunnel-Medium-Type", 65, _TUNNEL_MEDIUM, tagged=True),
    Attribute("Tunnel-Client-Endpoint", 66, TEXT, tagged=True),
    Attribute("Tunnel-Server-Endpoint", 67, TEXT, tagged=True),
    Attribute("Tunnel-Private-Group-Id", 81, TEXT, tagged=True),
    Attribute("Tunnel-Assignment-Id", 82, TEXT, tagged=True),
    Attribute("Tunnel-Preference", 83, Number(0, 2**24 - 1), tagged=True),
    Attribute("Tunnel-Client-Auth-Id", 90, TEXT, tagged=True),
    Attribute("Tunnel-Server-Auth-Id", 91, TEXT, tagged=True),
    # RFC 2869 5.16 (not under 60 seconds) and 5.18
    Attribute("Acct-Interim-Interval", 85, Number(60)),
    Attribute("Framed-Pool", 88, TEXT),
    # RFC 3162 2, RFC 4818 3, RFC 6911 3
    Attribute("Framed-IPv6-Prefix", 97, Ipv6Prefix(), many=True),
    Attribute("Login-IPv6-Host", 98, IPV6, many=True),
    Attribute("Framed-IPv6-Route", 99, TEXT, many=True),
    Attribute("Framed-IPv6-Pool", 100, TEXT),
    Attribute("Delegated-IPv6-Prefix", 123, Ipv6Prefix(), many=True),
    Attribute("Framed-IPv6-Address", 168, IPV6, many=True),
    Attribute("DNS-Server-IPv6-Address", 169, IPV6, many=True),
    Attribute("Delegated-IPv6-Prefix-Pool", 171, TEXT, many=True),
    Attribute("Stateful-IPv6-Address-Pool", 172, TEXT, many=True),
)

_VENDORS = (
    Attribute("Cisco-AVPair", 1, TEXT, True, CISCO),
    Attribute("MS-Primary-DNS-Server", 28, IPV4, False, MICROSOFT),
    Attribute("MS-Secondary-DNS-Server", 29, IPV4, False, MICROSOFT),
    Attribute("MS-Primary-NBNS-Server", 30, IPV4, False, MICROSOFT),
    Attribute("MS-Secondary-NBNS-Server", 31, IPV4, False, MICROSOFT),
    Attribute("Citrix-User-Groups", 16, TEXT, True, CITRIX),
    Attribute("Juniper-Local-User-Name", 1, TEXT, False, JUNIPER),
    Attribute("Juniper-Allow-Commands", 2, TEXT, False, JUNIPER),
    Attribute("Juniper-Deny-Commands", 3, TEXT, False, JUNIPER),
    Attribute("Juniper-Allow-Configuration", 4, TEXT, False, JUNIPER),
    Attribute("Juniper-Deny-Configuration", 5, TEXT, False, JUNIPER),
    Attribute("Juniper-User-Permissions", 10, TEXT, False, JUNIPER),
    Attribute("Juniper-Primary-Dns", 31, IPV4, False, JUNIPER),
    Attribute("Juniper-Primary-Wins", 32, IPV4, False, JUNIPER),
    Attribute("Juniper-Secondary-Dns", 33, IPV4, False, JUNIPER),
    Attribute("Juniper-Secondary-Wins", 34, IPV4, False, JUNIPER),
    Attribute("Juniper-Ip-Pool-Name", 36, TEXT, False, JUNIPER),
    Attribute("Juniper-Local-Group-Name", 46, TEXT, False, JUNIPER),
    Attribute("ASA-Simultaneous-Logins", 2, Number(0, 2**31 - 1), False, ASA),
    Attribute("ASA-Primary-DNS", 5, IPV4, False, ASA),
    Attribute("ASA-Secondary-DNS", 6, IPV4, False, ASA),
    Attribute("ASA-Primary-WINS", 7, IPV4, False, ASA),
    Attribute("ASA-Secondary-WINS", 8, IPV4, False, ASA),
    Attribute("ASA-Tunneling-Protocols", 11, Number(1, 127), False, ASA),  # a sum of bits
    Attribute("ASA-Banner1", 15, TEXT, False, ASA),
    Attribute("ASA-Group-Policy", 25, TEXT, False, ASA),
    Attribute("ASA-IPsec-Split-Tunnel-List", 27, TEXT, False, ASA),
    Attribute("ASA-IPsec-Default-Domain", 28, TEXT, False, ASA),
    Attribute("ASA-IPsec-Split-DNS-Names", 29, TEXT, False, ASA),
    Attribute("ASA-Banner2", 36, TEXT, False, ASA),
    Attribute(
        "ASA-IPsec-Split-Tunneling-Policy",
        55,
        Choice({"No-Split-Tunneling": 0, "Split-Tunneling": 1, "Local-LAN-Permitted": 2}),
        False,
        ASA,
    ),
    Attribute("ASA-DHCP-Network-Scope", 61, IPV4, False, ASA),
    Attribute("ASA-Tunnel-Group-Lock", 85, TEXT, False, ASA),
    Attribute("ASA-Access-List-Inbound", 86, TEXT, False, ASA),
    Attribute("ASA-Access-List-Outbound", 87, TEXT, False, ASA),
    Attribute("ASA-VLAN", 140, Number(0, 4094), False, ASA),
    Attribute("ASA-Member-Of", 145, TEXT, False, ASA),
    Attribute("ASA-Address-Pools", 217, TEXT, False, ASA),
    Attribute("ASA-IPv6-Address-Pools", 218, TEXT, False, ASA),
    Attribute("ASA-IPv6-VPN-Filter", 219, TEXT, False, ASA),
    Attribute("ASA-Privilege-Level", 220, Number(0, 15), False, ASA),
    Attribute("Fortinet-Group-Name", 1, TEXT, True, FORTINET),
    Attribute("Fortinet-Vdom-Name", 3, TEXT, True, FORTINET),
    Attribute("Fortinet-Interface-Name", 5, TEXT, False, FORTINET),
    Attribute("Fortinet-Access-Profile", 6, TEXT, False, FORTINET),
    Attribute("Mikrotik-Recv-Limit", 1, NUMBER, False, MIKROTIK),
    Attribute("Mikrotik-Xmit-Limit", 2, NUMBER, False, MIKROTIK),
    Attribute("Mikrotik-Group", 3, TEXT, False, MIKROTIK),
    Attribute("Mikrotik-Rate-Limit", 8, TEXT, False, MIKROTIK),
    Attribute("Mikrotik-Mark-Id", 11, TEXT, False, MIKROTIK),
    Attribute("Mikrotik-Recv-Limit-Gigawords", 14, NUMBER, False, MIKROTIK),
    Attribute("Mikrotik-Xmit-Limit-Gigawords", 15, NUMBER, False, MIKROTIK),
    Attribute("Mikrotik-Total-Limit", 17, NUMBER, False, MIKROTIK),
    Attribute("Mikrotik-Total-Limit-Gigawords", 18, NUMBER, False, MIKROTIK),
    Attribute("Mikrotik-Address-List", 19, TEXT, False, MIKROTIK),
    Attribute("Mikrotik-Delegated-IPv6-Pool", 22, TEXT, False, MIKROTIK),
    Attribute("PaloAlto-Admin-Role", 1, TEXT, False, PALO_ALTO),
    Attribute("PaloAlto-Admin-Access-Domain", 2, TEXT, False, PALO_ALTO),
    Attribute("PaloAlto-Panorama-Admin-Role", 3, TEXT, False, PALO_ALTO),
    Attribute("PaloAlto-Panorama-Admin-Access-Domain", 4, TEXT, False, PALO_ALTO),
    Attribute("PaloAlto-User-Group", 5, TEXT, True, PALO_ALTO),
)

TABLE = _STANDARD + _VENDORS

_SERVERS_OWN = "the server sets it itself where it belongs"
_SECRET = "keys and passwords are never sent in a reply"
# Attributes somebody may try, and why they are not in the table; by name in small letters.
NOT_SET = {
    "reply-message": "texts for people are messages, see twofold message set",
    "vendor-specific": "name the vendor's attribute itself, for example Cisco-AVPair",
    "user-name": "the gateway knows it from its own request",
    "state": _SERVERS_OWN,
    "prompt": _SERVERS_OWN,
    "proxy-state": _SERVERS_OWN,
    "message-authenticator": _SERVERS_OWN,
    "eap-message": "EAP is not spoken here",
    "user-password": _SECRET,
    "chap-password": _SECRET,
    "tunnel-password": _SECRET,
    "ms-mppe-send-key": _SECRET,
    "ms-mppe-recv-key": _SECRET,
    "ms-chap-mppe-keys": _SECRET,
    "mikrotik-wireless-enc-key": _SECRET,
    "mikrotik-wireless-psk": _SECRET,
    "mikrotik-wireless-mpkey": _SECRET,
}

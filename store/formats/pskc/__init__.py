"""PSKC, RFC 6030, and the drafts before it that token makers still write.

    document    the XML, before anything believes it
    fields      what may stand in which element
    ciphers     the algorithms that encrypt a value
    opening     from key or password to a value whose MAC was checked
    policy      whether the file allows us to use a key
    users       whose a key is: distinguished names
    extension   what PSKC has no element for, in a namespace of our own
    keys        one Key element into one item
    reader      all of it, in order

python-pskc knows where each draft keeps what, and is asked for that alone. It is not given octets, no XML that was not
checked, and decides nothing: it takes a value without a MAC for a good one, and a wrong integer for the end of the
file.
"""

from store.formats.pskc.reader import Pskc

__all__ = ["Pskc"]

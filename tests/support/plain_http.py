"""Requests over plain HTTP, without a key.

httpx2 alone would read the machine's certificate authorities for each of them, which takes longer than the request.
"""

import ssl
from functools import partial

import httpx2

TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

request = partial(httpx2.request, verify=TRUSTS_NOBODY)
get = partial(httpx2.get, verify=TRUSTS_NOBODY)
post = partial(httpx2.post, verify=TRUSTS_NOBODY)
put = partial(httpx2.put, verify=TRUSTS_NOBODY)
patch = partial(httpx2.patch, verify=TRUSTS_NOBODY)
delete = partial(httpx2.delete, verify=TRUSTS_NOBODY)
client = partial(httpx2.Client, verify=TRUSTS_NOBODY)

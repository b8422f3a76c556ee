"""Serves the stop page: the same response to every request, except for links to help; counts how often.

Rules:
- A view is a GET that asks for a document. Pictures and scripts that other pages load from a blocked address get the
  same response, are not seen, and are not counted.
- A link to help is a redirect. It is counted by kind of help, and only if the request asks for a document.
"""

from typing import Final

from aiohttp import hdrs, web

from resolver.config.config import HELP_KINDS
from resolver.page.render import Rendered

STATUS: Final = 451
REASON: Final = "Unavailable For Legal Reasons"
_DOCUMENT: Final = "text/html"
_QUIET: Final = {hdrs.CACHE_CONTROL: "no-store", "Referrer-Policy": "no-referrer"}


class Page:
    """Responds to every method, host and path with the page.

    views: how often it was shown. followed: how often a link to help was followed, by kind.
    """

    def __init__(self, rendered: Rendered) -> None:
        self.views = 0
        self.followed = dict.fromkeys(HELP_KINDS, 0)
        self.show(rendered)

    def show(self, rendered: Rendered) -> None:
        """Serve this page from the next request on."""
        self._body = rendered.body
        self._headers = dict(rendered.headers)
        self._help = rendered.help

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the page (without its body for HEAD) or the redirect to help."""
        reading = request.method == hdrs.METH_GET and _DOCUMENT in request.headers.get(hdrs.ACCEPT, "")
        kind, url = self._help.get(request.path, (None, ""))
        if kind is None:
            self.views += reading
            return web.Response(status=STATUS, reason=REASON, body=self._body, headers=self._headers)
        self.followed[kind] += reading
        return web.Response(status=303, headers={**_QUIET, hdrs.LOCATION: url})

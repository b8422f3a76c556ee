"""Shows the stop page: the same answer to every request but those that follow a link to help; kept is how often.

Rules:
- A view is a GET that asks for a document. Pictures and scripts that other pages take from a blocked address get the
  same answer, and nobody sees it.
- Who follows a link to help is sent on, and counted by the kind of help, as one who asks for a document.
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
    """Answers every method, host and path with the page; `views` counts how often it was shown, `followed` by kind how
    often a link to help was followed."""

    def __init__(self, rendered: Rendered) -> None:
        self.views = 0
        self.followed = dict.fromkeys(HELP_KINDS, 0)
        self.show(rendered)

    def show(self, rendered: Rendered) -> None:
        """Show this page from the next request on."""
        self._body = rendered.body
        self._headers = dict(rendered.headers)
        self._help = rendered.help

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The page, without its body for HEAD, or the way to help; the connection ends with it: a crowd cannot hold
        slots."""
        reading = request.method == hdrs.METH_GET and _DOCUMENT in request.headers.get(hdrs.ACCEPT, "")
        kind, url = self._help.get(request.path, (None, ""))
        if kind is None:
            self.views += reading
            answer = web.Response(status=STATUS, reason=REASON, body=self._body, headers=self._headers)
        else:
            self.followed[kind] += reading
            answer = web.Response(status=303, headers={**_QUIET, hdrs.LOCATION: url})
        answer.force_close()
        return answer

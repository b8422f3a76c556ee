"""Shows the stop page: the same answer to every request, and nothing kept but how often."""

from typing import Final

from aiohttp import hdrs, web

from resolver.page.render import Rendered

STATUS: Final = 451
REASON: Final = "Unavailable For Legal Reasons"


class Page:
    """Answers every method, host and path with the page; `views` counts the GETs answered."""

    def __init__(self, rendered: Rendered) -> None:
        self.views = 0
        self.show(rendered)

    def show(self, rendered: Rendered) -> None:
        """Show this page from the next request on."""
        self._body = rendered.body
        self._headers = dict(rendered.headers)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The page, without its body for HEAD; the connection ends with it: a crowd cannot hold slots."""
        if request.method == hdrs.METH_GET:
            self.views += 1
        answer = web.Response(status=STATUS, reason=REASON, body=self._body, headers=self._headers)
        answer.force_close()
        return answer

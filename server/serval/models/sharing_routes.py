"""HTTP for shares: who else may use a model."""

from litestar import Controller, Response, delete, get, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody

from serval.errors import MalformedBody, NotFound, TooLarge, UnsupportedContent
from serval.http.openapi import KEYED, keyed_responses
from serval.http.request import Name
from serval.models.dependencies import CallerDependency, SharingDependency
from serval.models.sharing_schemas import ShareList, ShareRequest, ShareView

_CHANGED = ResponseSpec(
    ShareView, generate_examples=False, description="There was such a share already; this is its permission now."
)


class ShareController(Controller):
    """The shares of a model: who manages it sees them, its owner and administrators change them."""

    path = "/api/v1/models/{model:str}/shares"
    tags = ("Models",)

    @get(
        operation_id="list_shares",
        summary="List the shares of a model",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def list_shares(self, model: Name, caller: CallerDependency, sharing: SharingDependency) -> ShareList:
        """List with whom a model is shared and what they may do. Those who manage the model can see it."""
        return ShareList([ShareView.of(share) for share in await sharing.list_shares(caller, model)])

    @put(
        operation_id="share_model",
        summary="Share a model with a user or everybody, or update the permission of a share",
        status_code=201,
        responses={
            200: _CHANGED,
            **keyed_responses(NotFound, TooLarge, MalformedBody, UnsupportedContent),
        },
        operation_class=KEYED,
    )
    async def share(
        self,
        model: Name,
        data: JSONBody[ShareRequest],
        caller: CallerDependency,
        sharing: SharingDependency,
    ) -> Response[ShareView]:
        """Let a user, or everybody on this server, use a model. `predict` lets them ask it, `manage` also change its
        versions and settings. A second request for the same user changes the permission."""
        share, is_new = await sharing.share(caller, model, data.receiver(), data.permission)
        return Response(ShareView.of(share), status_code=201 if is_new else 200)

    @delete(
        "/{share_id:str}",
        operation_id="unshare_model",
        summary="Delete a share, by its id or its user",
        responses=keyed_responses(NotFound),
        operation_class=KEYED,
    )
    async def unshare(self, model: Name, share_id: Name, caller: CallerDependency, sharing: SharingDependency) -> None:
        """Take a share back. Its user can no longer ask the model, from the next request on."""
        await sharing.unshare(caller, model, share_id)

"""Globus Auth as far as applications need it: tokens, codes, introspection."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from globus_sim import scopes
from globus_sim.errors import AuthError, TransferError, not_authenticated
from globus_sim.model import Client, Token
from globus_sim.scopes import AUTH_SERVER, Scope
from globus_sim.world import World

LIFETIME_SECONDS = 172_800
_CODE_SECONDS = 600
_REFRESH_SECONDS = 180 * 86_400.0


class Auth:
    """`person`: the identity that agrees to whatever a native application asks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.person = "00000000-0000-4000-8000-00000000aaaa"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v2/oauth2/token", self.token),
            web.get("/v2/oauth2/authorize", self.authorize),
            web.post("/v2/oauth2/token/introspect", self.introspect),
            web.post("/v2/oauth2/token/revoke", self.revoke),
            web.get("/v2/oauth2/userinfo", self.userinfo),
        ]

    def bearer(self, request: web.Request) -> Token:
        """Raises TransferError: what a call of Transfer shows is no token that still counts."""
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        token = self._world.tokens.get(value)
        if kind != "Bearer" or token is None or token.kind != "access":
            raise not_authenticated()
        if self._world.clock.now() >= token.expires:
            raise not_authenticated("Token is not active: it has expired")
        return token

    async def token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        client = self._client(request, form)
        match form.get("grant_type", ""):
            case "client_credentials":
                if not client.secret:
                    raise AuthError(
                        401, "unauthorized_client", "a native application has no credentials of its own"
                    )
                session, identity, refreshed = 0.0, client.identity, False
                wanted = self._scopes(form.get("scope", ""))
            case "refresh_token":
                old = self._live(form.get("refresh_token", ""), "refresh", client)
                session, identity, refreshed = old.session, old.identity, False
                wanted = self._scopes(" ".join(old.scopes))
            case "authorization_code":
                code = self._redeem(form, client)
                session, identity, refreshed = code.session, code.identity, code.offline
                wanted = self._scopes(" ".join(code.scopes))
                await self._world.drop_token(code.token)
            case other:
                raise AuthError(400, "unsupported_grant_type", f"{other!r} is not known here")
        answer = await self._issue(client, identity, session, wanted, refresh=refreshed)
        return web.json_response(answer)

    async def authorize(self, request: web.Request) -> web.Response:
        """Whoever is asked agrees at once; the page, or the redirect, carries the code."""
        query = request.query
        client = self._world.clients.get(query.get("client_id", ""))
        if client is None:
            raise AuthError(400, "invalid_client", "no such client")
        code = Token(
            token=secrets.token_urlsafe(24),
            kind="code",
            client_id=client.client_id,
            identity=self.person,
            scopes=[str(scope) for scope in self._scopes(query.get("scope", ""))],
            expires=self._world.clock.now() + _CODE_SECONDS,
            redirect_uri=query.get("redirect_uri", ""),
            challenge=query.get("code_challenge", ""),
            offline=query.get("access_type", "") == "offline",
            session=self._world.clock.now(),
        )
        await self._world.save(code)
        if (
            "auth.globus.org" in code.redirect_uri
            or not code.redirect_uri
            or "/v2/web/auth-code" in code.redirect_uri
        ):
            return web.Response(text=code.token + "\n")
        answer = urlencode({"code": code.token, "state": query.get("state", "")})
        raise web.HTTPFound(f"{code.redirect_uri}?{answer}")

    async def introspect(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        client = self._client(request, form)
        token = self._world.tokens.get(form.get("token", ""))
        if token is None or token.client_id != client.client_id or self._world.clock.now() >= token.expires:
            return web.json_response({"active": False})
        now = int(self._world.clock.now())
        return web.json_response(
            {
                "active": True,
                "token_type": "Bearer",
                "scope": " ".join(token.scopes),
                "client_id": client.client_id,
                "username": f"{token.identity}@clients.auth.globus.org",
                "name": client.name,
                "email": None,
                "exp": int(token.expires),
                "iat": now,
                "nbf": now,
                "sub": token.identity,
                "aud": [AUTH_SERVER, client.client_id],
                "iss": "https://auth.globus.org",
            }
        )

    async def revoke(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self._client(request, form)
        await self._world.drop_token(form.get("token", ""))
        return web.json_response({"active": False})

    async def userinfo(self, request: web.Request) -> web.Response:
        try:
            token = self.bearer(request)
        except TransferError as error:
            detail = {
                "status": "401",
                "id": secrets.token_hex(8),
                "code": "UNAUTHORIZED",
                "title": "Unauthorized",
            }
            told = {"errors": [{**detail, "detail": "Call must be authenticated"}]}
            answer = {**told, "error_description": "Unauthorized", "error": "unauthorized"}
            return web.json_response(answer, status=error.status)
        return web.json_response(
            {"sub": token.identity, "preferred_username": f"{token.identity}@globus-sim"}
        )

    def _client(self, request: web.Request, form: dict[str, str]) -> Client:
        """Whoever shows its secret, or a native application by its name. Raises AuthError."""
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            try:
                name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise AuthError(401, "invalid_client", "the credentials cannot be read") from error
            client = self._world.clients.get(name)
            if client is None or not client.secret or not secrets.compare_digest(client.secret, secret):
                raise AuthError(401, "invalid_client", "wrong client id or secret")
            return client
        client = self._world.clients.get(form.get("client_id", ""))
        if client is None or client.secret:
            raise AuthError(401, "invalid_client", "no such native application")
        return client

    def _scopes(self, text: str) -> list[Scope]:
        """Raises AuthError. data_access is only for collections that are mapped."""
        try:
            wanted = scopes.parse(text or scopes.TRANSFER)
        except ValueError as error:
            raise AuthError(400, "unknown_scope", str(error)) from error
        for scope in wanted:
            for inner in scope.depends:
                collection = self._world.collections.get(scopes.collection_of(inner.name))
                if collection is None or not collection.mapped:
                    raise AuthError(400, "unknown_scope", f"{inner.name} is no scope that can be asked for")
        return wanted

    def _live(self, value: str, kind: str, client: Client) -> Token:
        token = self._world.tokens.get(value)
        if token is None or token.kind != kind or token.client_id != client.client_id:
            raise AuthError(401 if kind == "code" else 400, "invalid_grant")
        if self._world.clock.now() >= token.expires:
            raise AuthError(400, "invalid_grant", "it has expired")
        return token

    def _redeem(self, form: dict[str, str], client: Client) -> Token:
        code = self._live(form.get("code", ""), "code", client)
        if code.challenge:
            hashed = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(hashed).decode().rstrip("=") != code.challenge.rstrip("="):
                raise AuthError(401, "invalid_grant", "the verifier does not fit the challenge")
        return code

    async def _issue(
        self, client: Client, identity: str, session: float, wanted: list[Scope], *, refresh: bool
    ) -> dict[str, Any]:
        """One document for each resource server; the first holds the others."""
        by_server: dict[str, list[Scope]] = {}
        for scope in wanted:
            by_server.setdefault(scope.server, []).append(scope)
        documents = []
        for server, several in by_server.items():
            token = Token(
                token=secrets.token_urlsafe(32),
                kind="access",
                client_id=client.client_id,
                identity=identity,
                scopes=[str(scope) for scope in several],
                expires=self._world.clock.now() + LIFETIME_SECONDS,
                session=session,
            )
            await self._world.save(token)
            document: dict[str, Any] = {
                "access_token": token.token,
                "scope": " ".join(scope.name for scope in several),
                "expires_in": LIFETIME_SECONDS,
                "token_type": "Bearer",
                "resource_server": server,
            }
            if refresh:
                lasting = replace(
                    token,
                    token=secrets.token_urlsafe(32),
                    kind="refresh",
                    expires=self._world.clock.now() + _REFRESH_SECONDS,
                )
                await self._world.save(lasting)
                document["refresh_token"] = lasting.token
            documents.append(document)
        first, *others = documents
        return {**first, "other_tokens": others}

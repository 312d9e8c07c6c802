#!/usr/bin/env python3
"""Drives the sandbox's Keycard with the vendor's own packages from PyPI.

    python -m venv venv && venv/bin/pip install keycardai-api keycardai-oauth
    venv/bin/python tests/foreign/keycard.py http://127.0.0.1:7702

The service must hold the sandbox's seed: the service account `sandbox` with the secret `sandbox`,
the zone `production`, its applications and its provider `github-actions`. Needs no internet and no
account. Ends with `N passed, 0 failed` and exit code 0, or names what failed and ends with 1.
"""

import os
import sys
import traceback

import httpx
from keycardai.oauth import BasicAuth, Client
from keycardai.oauth.exceptions import OAuthProtocolError
from keycardai_api import APIStatusError, KeycardAPI
from keycardai_api.types.zones.password import Password
from keycardai_api.types.zones.public import Public
from keycardai_api.types.zones.public_key import PublicKey
from keycardai_api.types.zones.token import Token
from keycardai_api.types.zones.url import URL

MARK = f"kf-foreign-{os.getpid()}"
CASES = []


def case(function):
    """Adds a case; they run in the order in which they are written."""
    CASES.append(function)
    return function


class World:
    """The service, an authorised client, and what earlier cases found."""

    def __init__(self, base):
        self.base = base
        # The management client fetches its token from the vendor's real host, whatever base URL it
        # is given. So the token comes from here and goes in as a ready one.
        self.bearer = self.management_token(auth=("sandbox", "sandbox")).json()["access_token"]
        self.api = KeycardAPI(api_key=self.bearer, base_url=base, max_retries=0)
        self.zone = next(iter(self.api.zones.list(slug="production").items))
        found = self.api.zones.applications.list(self.zone.id, filter_slug=["google-mcp-server"]).items
        self.application = found[0]

    def management_token(self, auth=None, **fields):
        form = {"grant_type": "client_credentials", **fields}
        return httpx.post(f"{self.base}/service-account-token", data=form, auth=auth, trust_env=False)

    @property
    def credentials(self):
        return self.api.zones.application_credentials

    def password(self, identifier=None):
        extra = {"identifier": identifier} if identifier else {}
        return self.credentials.create(self.zone.id, application_id=self.application.id, type="password", **extra)

    def login(self, pair, **arguments):
        issuer = self.zone.protocols.oauth2.issuer
        with Client(issuer, auth=BasicAuth(pair.identifier, pair.password)) as client:
            return client.client_credentials_grant(**arguments)


def refused(status, call):
    """The call must fail with this status, as an error the client understands."""
    try:
        call()
    except APIStatusError as error:
        assert error.status_code == status, f"{error.status_code} instead of {status}"
        body = error.body
        assert {"status", "code", "message"} <= set(body) and body["status"] == status, body
        return body
    raise AssertionError(f"not refused with {status}")


def oauth_refused(code, call):
    try:
        call()
    except OAuthProtocolError as error:
        assert error.error == code, f"{error.error} instead of {code}"
        return
    raise AssertionError(f"not refused with {code}")


@case
def management_token_by_basic_and_by_body(world):
    for answer in (
        world.management_token(auth=("sandbox", "sandbox")),
        world.management_token(client_id="sandbox", client_secret="sandbox"),
    ):
        body = answer.json()
        assert answer.status_code == 200 and body["token_type"] == "Bearer" and body["expires_in"] > 0, body
        assert body["access_token"].count(".") == 2
    answer = world.management_token(auth=("sandbox", "wrong"))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@case
def organizations_zones_applications_and_providers_validate(world):
    organizations = world.api.organizations.list()
    assert len(organizations.items) == 1 and organizations.page_info.has_prev_page is False
    assert world.api.organizations.retrieve(organizations.items[0].id).label
    zone = world.api.zones.retrieve(world.zone.id)
    assert type(zone).model_validate(zone.model_dump()), "every required field is there, well typed"
    application = world.api.zones.applications.retrieve(world.application.id, zone_id=world.zone.id)
    assert type(application).model_validate(application.model_dump())
    provider = world.api.zones.providers.list(world.zone.id).items[0]
    assert type(provider).model_validate(provider.model_dump())
    for item in (zone, application, provider):
        assert item.owner_type == "customer" and item.created_at.tzinfo is not None


@case
def applications_are_filtered_searched_and_sorted(world):
    applications = world.api.zones.applications
    names = [item.name for item in applications.list(world.zone.id, sort="name").items]
    assert names == sorted(names) and len(names) >= 4
    by_id = applications.list(world.zone.id, filter_id=[world.application.id, "nobody"]).items
    assert [item.id for item in by_id] == [world.application.id]
    slugs = {item.slug for item in applications.list(world.zone.id, query_identifier=["mcp"]).items}
    assert slugs == {"google-mcp-server", "linear-mcp-server"}
    refused(400, lambda: applications.list(world.zone.id, filter_id=[world.application.id], after="aXRlbTox"))


@case
def every_type_comes_back_as_its_class(world):
    provider = world.api.zones.providers.list(world.zone.id).items[0]
    for kind, fields in (
        (Token, {"type": "token", "provider_id": provider.id}),
        (Password, {"type": "password"}),
        (PublicKey, {"type": "public-key", "jwks_uri": "https://keys.example/jwks.json"}),
        (URL, {"type": "url", "identifier": "https://client.example/metadata"}),
        (Public, {"type": "public"}),
    ):
        created = world.credentials.create(world.zone.id, application_id=world.application.id, **fields)
        read = world.credentials.retrieve(created.id, zone_id=world.zone.id)
        assert type(created) is kind and type(read) is kind, (type(created), type(read), kind)
        assert created.identifier == read.identifier
        listed = world.credentials.list(world.zone.id, application_id=world.application.id).items
        assert [(type(item), item.id) for item in listed] == [(kind, created.id)], listed
        nested = world.api.zones.applications.list_credentials(world.application.id, zone_id=world.zone.id).items
        assert [(type(item), item.identifier) for item in nested] == [(kind, created.identifier)], nested
        for name, value in fields.items():
            assert getattr(read, name) == value, (name, read)
        world.credentials.delete(created.id, zone_id=world.zone.id)


@case
def a_password_is_shown_once_logs_in_and_ends_with_its_deletion(world):
    pair = world.password(f"{MARK}-1")
    assert pair.identifier == f"{MARK}-1" and len(pair.password) == 64
    assert world.credentials.retrieve(pair.id, zone_id=world.zone.id).password is None
    token = world.login(pair)
    assert token.access_token and token.token_type.lower() == "bearer" and token.expires_in > 0
    second = world.password(f"{MARK}-2")
    assert world.login(second).access_token and world.login(pair).access_token, "both are live at once"
    oauth_refused("invalid_target", lambda: world.login(pair, resource="https://nowhere.example"))
    world.credentials.delete(pair.id, zone_id=world.zone.id)
    oauth_refused("invalid_client", lambda: world.login(pair))
    refused(404, lambda: world.credentials.delete(pair.id, zone_id=world.zone.id))
    refused(404, lambda: world.credentials.retrieve(pair.id, zone_id=world.zone.id))
    assert world.login(second).access_token
    world.credentials.delete(second.id, zone_id=world.zone.id)


@case
def several_of_every_type_live_side_by_side_in_one_application(world):
    provider = world.api.zones.providers.list(world.zone.id).items[0]
    made = []
    for number in ("1", "2"):
        for fields in (
            {"type": "token", "provider_id": provider.id, "subject": f"repo:{number}"},
            {"type": "public-key", "jwks_uri": f"https://keys.example/{number}.json"},
            {"type": "url", "identifier": f"https://client.example/{number}"},
            {"type": "public"},
        ):
            made.append(world.credentials.create(world.zone.id, application_id=world.application.id, **fields))
    assert len({item.id for item in made}) == len(made) == 8
    refused(404, lambda: world.credentials.create(
        world.zone.id, application_id=world.application.id, type="token", provider_id="nobody"))
    for item in made:
        world.credentials.delete(item.id, zone_id=world.zone.id)
    assert not world.credentials.list(world.zone.id, application_id=world.application.id).items


@case
def lists_are_walked_by_cursor(world):
    made = [world.password() for _ in range(3)]
    seen, after = [], None
    for _ in range(20):
        extra = {"after": after} if after else {}
        page = world.credentials.list(
            world.zone.id, application_id=world.application.id, limit=1, expand=["total_count"], **extra
        )
        assert len(page.items) == 1 and page.pagination.total_count == len(made)
        seen += [item.id for item in page.items]
        after = page.pagination.after_cursor
        if not after:
            break
    assert seen == [item.id for item in made], (seen, made)
    nested = world.api.zones.applications.list_credentials(world.application.id, zone_id=world.zone.id)
    assert [item.id for item in nested.items] == seen and not any(item.password for item in nested.items)
    for item in made:
        world.credentials.delete(item.id, zone_id=world.zone.id)


@case
def refusals_are_errors_that_the_client_understands(world):
    pair = world.password(f"{MARK}-3")
    refused(409, lambda: world.password(f"{MARK}-3"))
    refused(400, lambda: world.credentials.create(world.zone.id, application_id=world.application.id, type="odd"))
    refused(404, lambda: world.api.zones.retrieve("nobody"))
    stranger = KeycardAPI(api_key="no-such-token", base_url=world.base, max_retries=0)
    refused(401, lambda: stranger.zones.list())
    world.credentials.delete(pair.id, zone_id=world.zone.id)


@case
def a_patch_reaches_subject_and_identifier_but_neither_password_nor_key(world):
    provider = world.api.zones.providers.list(world.zone.id).items[0]
    create = lambda **fields: world.credentials.create(world.zone.id, application_id=world.application.id, **fields)
    patch = lambda item, **fields: world.credentials.update(item.id, zone_id=world.zone.id, **fields)
    token = create(type="token", provider_id=provider.id, subject="repo:one")
    assert token.identifier == "repo:one" and patch(token, subject=None).identifier == "*"
    public = create(type="public")
    assert patch(public, identifier=f"{MARK}-public").identifier == f"{MARK}-public"
    password = create(type="password")
    assert patch(password, type="password").identifier == password.identifier
    url = create(type="url", identifier="https://client.example/one.json")
    assert patch(url, identifier="https://client.example/two.json").identifier.endswith("two.json")
    refused(400, lambda: patch(url, identifier="no address"))
    keys = create(type="public-key", jwks_uri="https://keys.example/jwks.json", identifier=f"{MARK}-keys")
    assert patch(keys, type="public-key").jwks_uri == keys.jwks_uri and keys.identifier == f"{MARK}-keys"
    assert world.credentials.retrieve(url.id, zone_id=world.zone.id).identifier.endswith("two.json")
    for item in (token, public, password, url, keys):
        world.credentials.delete(item.id, zone_id=world.zone.id)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: keycard.py http://127.0.0.1:7702")
    os.environ["NO_PROXY"] = "*"
    world = World(sys.argv[1].rstrip("/"))
    failed = 0
    for function in CASES:
        try:
            function(world)
            print(f"ok      {function.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED  {function.__name__}")
            traceback.print_exc()
    print(f"{len(CASES) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Drives the sandbox's WorkOS with the vendor's own package from PyPI, `workos`.

    python tests/foreign/workos.py http://127.0.0.1:7703 http://127.0.0.1:7700

The first address is the service, the second the sandbox's control port. The service must hold the
sandbox's seed: the API key `sandbox`, the machine's application `payroll-export` and `customer-portal`,
which signs people in. Needs no internet and no account. Ends with `N passed, 0 failed` and exit code
0, or names what failed and ends with 1.
"""

import json
import os
import sys
import traceback
import urllib.error
import urllib.parse
import urllib.request

# This file's own name would hide the package.
sys.path = [entry for entry in sys.path if os.path.abspath(entry or ".") != os.path.dirname(os.path.abspath(__file__))]

from workos import NotFoundError, UnprocessableEntityError, WorkOSClient  # noqa: E402
from workos import AuthenticationError  # noqa: E402

CASES = []


def case(function):
    """Adds a case; they run in the order in which they are written."""
    CASES.append(function)
    return function


def refused(error, call):
    try:
        call()
    except error as said:
        return said
    raise AssertionError(f"not refused as {error.__name__}")


class World:
    def __init__(self, base, control):
        self.base, self.control = base, control
        self.connect = WorkOSClient(api_key="sandbox", base_url=base).connect
        named = {one.name: one for one in self.connect.list_applications()}
        self.machine, self.portal = named["payroll-export"], named["customer-portal"]

    def secrets(self, id=None):
        return self.connect.list_application_client_secrets(id or self.machine.id)

    def clear(self):
        for one in self.secrets():
            self.connect.delete_client_secret(one.id)

    def fault(self, effect, times=1):
        rule = {"service": "workos", "operation": "create_client_secret", "times": times, "effect": effect}
        data, headers = json.dumps(rule).encode(), {"content-type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(f"{self.control}/faults", data, headers))

    def calm(self):
        urllib.request.urlopen(urllib.request.Request(f"{self.control}/faults", method="DELETE"))

    def form(self, path, **fields):
        """Status and body of a form at the AuthKit domain."""
        data = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(f"{self.base}{path}", data) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def login(self, secret, client_id=None):
        client_id = client_id or self.machine.client_id
        fields = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        return self.form("/oauth2/token", **fields)


@case
def applications_are_listed_and_found_by_both_ids(world):
    for application in (world.machine, world.portal):
        for id in (application.id, application.client_id):
            found = world.connect.get_application(id)
            assert (found.id, found.client_id) == (application.id, application.client_id)
    assert type(world.machine) is not type(world.portal), "each kind comes back as its class"
    refused(NotFoundError, lambda: world.connect.get_application("nobody"))


@case
def a_secret_is_shown_once_and_deleted_once(world):
    assert world.secrets() == []
    made = world.connect.create_application_client_secret(world.machine.client_id)
    assert made.secret and made.last_used_at is None and made.created_at.tzinfo is not None
    listed = world.secrets()
    assert [one.id for one in listed] == [made.id] and not hasattr(listed[0], "secret")
    assert "client_secret" not in json.dumps(listed[0].to_dict()) and made.secret not in json.dumps(listed[0].to_dict())
    world.connect.delete_client_secret(made.id)
    assert world.secrets() == []
    refused(NotFoundError, lambda: world.connect.delete_client_secret(made.id))


@case
def a_secret_logs_in_until_it_is_deleted_and_a_login_counts_as_use(world):
    one = world.connect.create_application_client_secret(world.machine.id)
    two = world.connect.create_application_client_secret(world.machine.id)
    status, body = world.login(one.secret)
    assert (status, body["token_type"].lower()) == (200, "bearer") and body["access_token"].count(".") == 2
    assert world.login(two.secret)[0] == 200, "both are live at once"
    assert all(listed.last_used_at for listed in world.secrets())
    assert world.form("/oauth2/introspection", client_id=world.machine.client_id, client_secret=two.secret, token="x") == (
        200,
        {"active": False},
    )
    status, body = world.login("wrong")
    assert (status, body["error"]) == (401, "invalid_client")
    assert world.login("x", "client_nobody")[1]["error_description"] == "Application not found."
    world.connect.delete_client_secret(one.id)
    assert world.login(one.secret)[1]["error"] == "invalid_client"
    portal = world.connect.create_application_client_secret(world.portal.id)
    assert world.login(portal.secret, world.portal.client_id)[1]["error"] == "unauthorized_client"
    world.connect.delete_client_secret(portal.id)
    world.clear()


@case
def the_sixth_is_refused(world):
    for _ in range(5):
        world.connect.create_application_client_secret(world.machine.id)
    refused(UnprocessableEntityError, lambda: world.connect.create_application_client_secret(world.machine.id))
    assert len(world.secrets()) == 5
    world.clear()


@case
def a_wrong_key_is_a_stranger(world):
    stranger = WorkOSClient(api_key="sk_wrong", base_url=world.base, max_retries=0).connect
    refused(AuthenticationError, lambda: stranger.list_applications())


@case
def a_lost_answer_leaves_one_more_secret_than_the_client_knows(world):
    world.fault("drop_after")
    made = world.connect.create_application_client_secret(world.machine.id)
    ids = [one.id for one in world.secrets()]
    assert made.id in ids and len(ids) == 2, "the client sent it again, and says nothing of the first"
    world.calm()
    world.clear()


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: workos.py http://127.0.0.1:7703 http://127.0.0.1:7700")
    os.environ["NO_PROXY"] = "*"
    world = World(sys.argv[1].rstrip("/"), sys.argv[2].rstrip("/"))
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

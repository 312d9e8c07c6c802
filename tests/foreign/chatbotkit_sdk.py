#!/usr/bin/env python3
"""Drives the sandbox's ChatBotKit with the vendor's own package from PyPI.

    python3 tests/foreign/chatbotkit_sdk.py http://127.0.0.1:7704

The service must hold the sandbox's seed: the token `sandbox` and its child account `support-team`.
Listing an account without secrets fails in this package by itself, so that is left out. Ends with
`N passed, 0 failed` and exit code 0, or names what failed and ends with 1.
"""

import asyncio
import os
import sys
import traceback

from chatbotkit import APIError, ChatBotKit

ALIAS = f"foreign-py-{os.getpid()}"


async def refused(call, status, code):
    try:
        await call
    except APIError as error:
        assert (error.status_code, error.code) == (status, code), (error.status_code, error.code)
        return
    raise AssertionError(f"expected {status} {code}")


async def secrets(bot, base):
    request = {
        "alias": ALIAS,
        "name": "by the Python package",
        "kind": "shared",
        "type": "bearer",
        "value": "first",
        "meta": {"managedBy": ALIAS},
    }
    made = await bot.secret.create(request)
    item = await bot.secret.fetch(made.id)
    assert (item.id, item.alias) == (made.id, ALIAS), item
    assert (await bot.secret.fetch(f"@{ALIAS}")).id == made.id
    listed = await bot.secret.list({"take": 10, "meta": {"managedBy": ALIAS}})
    assert [one.id for one in listed.items] == [made.id], listed
    streamed = [one async for one in bot.secret.list().stream()]
    assert made.id in [one.data.id for one in streamed if one.type.value == "item"], "streamed"
    await refused(bot.secret.create(request), 409, "CONFLICT")
    await refused(bot.secret.fetch("c000000000000000000000000"), 404, "NOT_FOUND")
    await refused(bot.secret.update(made.id, {"alias": ALIAS, "type": "bogus"}), 400, "BAD_REQUEST")
    assert (await bot.secret.update(made.id, {"alias": ALIAS, "value": "second"})).id == made.id
    assert (await bot.secret.update(made.id, {"name": "no alias sent"})).id == made.id
    assert (await bot.secret.fetch(made.id)).alias is None, "an update without it erases the alias"
    assert (await bot.secret.delete(made.id)).id == made.id
    await refused(bot.secret.delete(made.id), 404, "NOT_FOUND")


async def tokens(bot, base):
    made = await bot.user.token.create("support-team", {"name": "by the Python package"})
    assert made.token.startswith("sk-"), "shown once"
    listed = await bot.user.token.list("support-team")
    assert made.id in [one.id for one in listed.items]
    child = ChatBotKit(token=made.token, base_url=base)
    await refused(child.secret.fetch("c000000000000000000000000"), 404, "NOT_FOUND")
    assert (await bot.user.token.delete("support-team", made.id)).id == made.id
    await refused(child.secret.fetch("c000000000000000000000000"), 401, "NOT_AUTHENTICATED")
    await refused(bot.user.token.create("sandbox", {}), 403, "NOT_AUTHORIZED")


async def strangers(bot, base):
    await refused(ChatBotKit(token="sk-nobody", base_url=base).secret.list(), 401, "NOT_AUTHENTICATED")
    mine = await bot.secret.create({"kind": "shared", "value": "x"})
    stranger = ChatBotKit(token="stranger", base_url=base)
    await refused(stranger.secret.fetch(mine.id), 403, "NOT_AUTHORIZED")
    await bot.secret.delete(mine.id)


async def main(base):
    bot = ChatBotKit(token="sandbox", base_url=base, timeout=20)
    failed = 0
    cases = [secrets, tokens, strangers]
    for case in cases:
        try:
            await case(bot, base)
        except Exception:
            failed += 1
            print(f"FAILED {case.__name__}")
            traceback.print_exc()
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))

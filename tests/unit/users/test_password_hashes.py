"""Stored password hashes: which are verified, and what those that are not are told."""

import asyncio
import subprocess
import sys
import textwrap
from contextlib import closing

import argon2
import bcrypt
import pytest

from serval.auth.password_hashes import MIB, hash_problem
from serval.auth.passwords import Passwords

OWN_BYTES = 12 * MIB
SALT, DIGEST = "G0ghgw676+jWMQXgtDuc3Q", "L1qIR5ymQ0JCXvsqqcQxgkfzZ28sQsfz/HN7iyYK12Y"
BCRYPT = "KG6fOD3jUwMDC5O2vhP32O1XgSmIFKuzjax9HAkbe56UVcmoplFNe"


def argon(
    *, kind: str = "argon2id", version: str = "v=19$", costs: str = "m=65536,t=3,p=4", rest: str = f"{SALT}${DIGEST}"
) -> str:
    return f"${kind}${version}{costs}${rest}"


@pytest.mark.parametrize(
    "stored",
    [
        argon(),
        argon(kind="argon2i"),
        argon(kind="argon2d", version=""),
        argon(version="v=16$"),
        argon(costs="m=262144,t=10,p=16"),
        argon(costs="m=8,t=1,p=1"),
        f"$2b$12${BCRYPT}",
        f"$2a$04${BCRYPT}",
        f"$2y$14${BCRYPT}",
        f"$2x$10${BCRYPT}",
    ],
)
def test_usual_hashes_are_verified(stored: str) -> None:
    assert hash_problem(stored, OWN_BYTES) is None


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        (argon(costs="m=4194304,t=1,p=1"), ("`m=4194304`", "4096 MiB", "`m=262144`", "256 MiB")),
        (argon(costs="m=262145,t=1,p=1"), ("`m=262145`", "`m=262144`")),
        (argon(costs="m=9999999999,t=1,p=1"), ("`m=9999999999`", "`m=262144`")),
        (argon(costs="m=65536,t=11,p=1"), ("`t=11`", "from 1 to 10")),
        (argon(costs="m=65536,t=4294967295,p=1"), ("`t=4294967295`", "from 1 to 10")),
        (argon(costs="m=65536,t=0,p=1"), ("`t=0`", "from 1 to 10")),
        (argon(costs="m=65536,t=3,p=17"), ("`p=17`", "from 1 to 16")),
        (argon(costs="m=65536,t=3,p=0"), ("`p=0`", "from 1 to 16")),
        (argon(costs="m=16,t=3,p=4"), ("`m=16`", "`p=4`", "`m=32`")),
        (argon(costs="m=065536,t=3,p=4"), ("`m=065536`", "zero")),
        (argon(costs="m=99999999999999,t=3,p=4"), ("damaged",)),
        (argon(costs="t=3,m=65536,p=4"), ("damaged",)),
        (argon(costs="m=65536,t=3,p=4,keyid=AAAA"), ("damaged",)),
        (argon(version="v=18$"), ("`v=18`", "19")),
        (argon(kind="argon2x"), ("damaged",)),
        (argon(rest=f"{SALT}"), ("damaged",)),
        (argon(rest=f"{SALT}=={DIGEST}"), ("damaged",)),
        (argon(rest=f"{SALT[:-1]}${DIGEST}"), ("salt", "base64")),
        (argon(rest=f"{SALT[:-1]}R${DIGEST}"), ("salt", "base64")),
        (argon(rest=f"{SALT}${DIGEST[:-1]}"), ("hash", "base64")),
        (argon(rest=f"AAAAAAAA${DIGEST}"), ("salt", "6 bytes", "8")),
        (argon(rest=f"{'AAAA' * 22}${DIGEST}"), ("salt", "66 bytes", "64")),
        (argon(rest=f"{SALT}$AAAAAAAAAAA"), ("hash", "8 bytes", "12")),
        (argon() + "\n", ("damaged",)),
        (f"$2b$31${BCRYPT}", ("cost 31", "04 to 14")),
        (f"$2b$15${BCRYPT}", ("cost 15", "04 to 14")),
        (f"$2b$03${BCRYPT}", ("cost 03", "04 to 14")),
        (f"$2b$99${BCRYPT}", ("cost 99", "04 to 14")),
        (f"$2c$12${BCRYPT}", ("damaged",)),
        (f"$2b$4${BCRYPT}", ("damaged",)),
        (f"$2b$12${BCRYPT[:-1]}", ("60 characters", "59")),
        (f"$2b$12${BCRYPT}\n", ("60 characters", "61")),
        (f"$2b$12${BCRYPT[:21]}z{BCRYPT[22:]}", ("salt",)),
        (f"$2b$12${'+' + BCRYPT[1:]}", ("salt",)),
        (f"$2b$12${BCRYPT[:-1]}f", ("hash",)),
        ("plain", ("neither Argon2 nor bcrypt",)),
        ("$5$rounds=5000$abc$def", ("neither Argon2 nor bcrypt",)),
        ("", ("neither Argon2 nor bcrypt",)),
    ],
)
def test_others_are_refused_with_the_parameter_and_its_limit(stored: str, named: tuple[str, ...]) -> None:
    problem = hash_problem(stored, OWN_BYTES)
    assert problem is not None
    assert [word for word in named if word not in problem] == []


def test_hashes_of_the_server_itself_may_take_what_it_is_set_to() -> None:
    assert hash_problem(argon(costs="m=1048576,t=3,p=4"), 1024 * MIB) is None


def test_what_the_libraries_write_is_verified() -> None:
    for lanes in (1, 3):
        for size in (12, 16, 33, 64):
            hasher = argon2.PasswordHasher(1, 8 * lanes, lanes, hash_len=size, salt_len=size)
            assert hash_problem(hasher.hash("x"), OWN_BYTES) is None
    for prefix in (b"2a", b"2b"):
        for _ in range(8):
            assert hash_problem(bcrypt.hashpw(b"x", bcrypt.gensalt(4, prefix)).decode(), OWN_BYTES) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    "stored",
    [
        argon(costs="m=4194304,t=4000000000,p=1"),
        f"$2b$31${BCRYPT}",
        f"$2b$12${BCRYPT[:21]}z{BCRYPT[22:]}",
        "$argon2id$",
        "plain",
    ],
)
async def test_a_stored_hash_that_is_refused_is_not_run(stored: str) -> None:
    with closing(Passwords(8, OWN_BYTES)) as passwords:
        assert await passwords.verify("any", stored) == (False, None)


@pytest.mark.anyio
async def test_a_hash_that_runs_keeps_its_place_when_its_client_has_gone() -> None:
    with closing(Passwords(8, OWN_BYTES)) as passwords:
        gone = [asyncio.create_task(passwords.hash("x", subject=str(number))) for number in range(8)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        assert (await passwords.hash("y", subject="other")).startswith("$argon2id$")


def test_a_process_ends_while_a_hash_runs() -> None:
    script = """
        import asyncio, threading
        from serval.auth.passwords import Passwords

        async def main():
            passwords, runs = Passwords(8, 12 << 20), threading.Event()
            def for_ever():
                runs.set()
                threading.Event().wait()
            task = asyncio.create_task(passwords._on_a_thread("", for_ever))
            await asyncio.to_thread(runs.wait)
            passwords.close()
            task.cancel()

        asyncio.run(main())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=120)

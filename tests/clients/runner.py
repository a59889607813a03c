"""Sends commands by redis-py and tells what came: `runner.py KIND PORT PROTOCOL`, KIND one of sync, asyncio, cluster, asyncio-cluster.

Each line of the input is a command, an array of words: texts, or {"hex": …}. Each line of the output is its reply, with the type that
the client gave it.
"""

import asyncio
import json
import sys

import redis
import redis.asyncio

KIND, PORT, PROTOCOL = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

# In a cluster the nodes of what has no key are named. (Names of groups of nodes, such as RedisCluster.ALL_NODES, do not serve: redis-py
# looks for a key all the same.)
NODES = {
    "BEAR.CATALOG": lambda client: client.get_random_node(),
    "BEAR.FEED": lambda client: client.get_random_node(),
    "BEAR.PROPOSE": lambda client: client.get_random_node(),
    "BEAR.RELOAD": lambda client: client.get_nodes(),
    "BEAR.ADOPT": lambda client: client.get_primaries(),
}


def typed(reply):
    if reply is None:
        return {"nil": True}
    if isinstance(reply, Exception):
        return {"error": text_of(reply)}
    if isinstance(reply, bool):
        return {"bool": reply}
    if isinstance(reply, int):
        return {"int": reply}
    if isinstance(reply, float):
        return {"double": reply}
    if isinstance(reply, bytes):
        return {"hex": reply.hex()}
    if isinstance(reply, str):
        return {"hex": reply.encode().hex()}
    if isinstance(reply, dict):
        return {"map": [[typed(name), typed(value)] for name, value in reply.items()]}
    return {"list": [typed(each) for each in reply]}


def text_of(error):
    """The text as the server sent it: codes that redis-py knows, ERR among them, it takes out of it."""
    if not isinstance(error, redis.exceptions.ResponseError):
        return f"- {type(error).__name__} {error}"
    code = getattr(error, "status_code", None)
    return f"{code} {error}" if code else str(error)


def words(line):
    return [bytes.fromhex(word["hex"]) if isinstance(word, dict) else word for word in json.loads(line)]


def options(client, command):
    return {"target_nodes": NODES[command](client)} if "cluster" in KIND and command in NODES else {}


def one_of(reply):
    """Of several nodes it is a map of what each has replied."""
    if "cluster" in KIND and isinstance(reply, dict) and reply and all(":" in str(node) for node in reply):
        return next(iter(reply.values()))
    return reply


def tell(reply):
    print(json.dumps(typed(reply)), flush=True)


def run():
    make = redis.RedisCluster if KIND == "cluster" else redis.Redis
    client = make(host="127.0.0.1", port=PORT, protocol=PROTOCOL)
    for line in sys.stdin:
        command = words(line)
        try:
            reply = client.execute_command(*command, **options(client, command[0]))
        except redis.RedisError as error:
            reply = error
        tell(one_of(reply))


async def run_asyncio():
    make = redis.asyncio.RedisCluster if KIND == "asyncio-cluster" else redis.asyncio.Redis
    client = await make(host="127.0.0.1", port=PORT, protocol=PROTOCOL).initialize()
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = words(line)
        try:
            reply = await client.execute_command(*command, **options(client, command[0]))
        except redis.RedisError as error:
            reply = error
        tell(one_of(reply))
    await client.aclose()


if KIND.startswith("asyncio"):
    asyncio.run(run_asyncio())
else:
    run()

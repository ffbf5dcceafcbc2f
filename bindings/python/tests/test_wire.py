"""What travels around messages, as other stacks send it."""

import asyncio
import urllib.request

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

import micro
from micro import errors

LOCAL = {"address": "127.0.0.1:0", "registry": "memory://wire"}


async def post(address: str, path: str, headers: dict[str, str]) -> bytes:
    """A request as a browser or a proxy sends it."""
    request = urllib.request.Request(f"http://{address}{path}", b"{}", {"content-type": "application/json", **headers})
    return await asyncio.to_thread(lambda: urllib.request.urlopen(request).read())


async def test_headers_of_a_hop_and_of_a_browser_stay_and_credentials_go_to_the_registry_alone() -> None:
    names: list[set[str]] = []
    leaf, relay = micro.Service("leaf", **LOCAL), micro.Service("relay", **LOCAL)

    @leaf.endpoint("Leaf.See")
    async def see(_: dict, context: micro.Context) -> str:
        names.append(set(context.metadata))
        return ""

    @relay.endpoint("Relay.Go")
    async def go(_: dict) -> str:
        await relay.client.call("leaf", "Leaf.See", {})
        await relay.client.call("leaf", "Leaf.See", {}, addresses=[leaf.address])
        await relay.client.call("leaf", "Leaf.See", {}, forward={"only": [], "credentials_to": "nowhere"})
        return ""

    sent = {
        "expect": "100-continue",
        "http2-settings": "AAMAAABk",
        "cookie": "session=1",
        "origin": "https://shop.example",
        "authorization": "Bearer secret",
        "tenant": "blue",
    }
    async with leaf, relay:
        await post(relay.address, "/relay.Relay/Go", sent)
    assert [seen & sent.keys() for seen in names] == [{"authorization", "tenant"}, {"tenant"}, set()]


async def test_a_rule_that_makes_no_sense_is_refused() -> None:
    async with micro.Client(registry="memory://wire") as client:
        with pytest.raises(errors.InvalidArgument, match="cookie"):
            await client.call("leaf", "Leaf.See", {}, forward={"only": ["cookie"]})


async def test_bytes_come_as_they_were_before_the_wire_joined_them() -> None:
    service = micro.Service("lab", **LOCAL)
    got: dict[str, list] = {}

    @service.endpoint("Lab.Meta")
    async def meta(_: dict, context: micro.Context) -> str:
        got.update({name: context.metadata.get_all_binary(name) for name, _ in context.metadata.pairs})
        return ""

    sent = {"x-joined-bin": "AQ==, Ag", "x-url-bin": "-_8", "x-none-bin": "no base64!"}
    async with service:
        await post(service.address, "/lab.Lab/Meta", sent)
    assert (got["x-joined-bin"], got["x-url-bin"], "x-none-bin" in got) == ([b"\1", b"\2"], [b"\xfb\xff"], False)


@pytest.mark.parametrize("text", ["Ошибка оплаты: " * 300, "x" * 9000, "😈" * 3000, "короткий"])
async def test_a_long_text_reaches_grpcio_with_its_code(text: str) -> None:
    service = micro.Service("lab", **LOCAL)

    @service.endpoint("Lab.Fail")
    async def fail(_: bytes) -> bytes:
        raise errors.NotFound(text, id="магазин.заказы")

    async with service, grpc.aio.insecure_channel(service.address) as channel:
        call = channel.unary_unary("/lab.Lab/Fail", request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call(b"x")
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND
    assert text.startswith(failed.value.details().removesuffix("…"))


def shop(version: str) -> descriptor_pb2.FileDescriptorProto:
    """`package shop.VERSION; service Shop { rpc Put(M) returns (M); }`."""
    file = descriptor_pb2.FileDescriptorProto(name=f"wire/shop_{version}.proto", package=f"shop.{version}", syntax="proto3")
    file.message_type.add(name="M").field.add(name="id", number=1, type=9, label=1)
    put = file.service.add(name="Shop").method.add(name="Put", input_type=f".shop.{version}.M")
    put.output_type = put.input_type
    return file


class Shop:
    def __init__(self, version: str) -> None:
        self.version = version

    async def Put(self, message):
        message.id += self.version
        return message


async def test_two_versions_of_a_protobuf_service_are_served_and_healthy_by_their_full_names() -> None:
    pool = descriptor_pool.DescriptorPool()
    service = micro.Service("shop", **LOCAL)
    descriptors = {}
    for version in ("v1", "v2"):
        pool.AddSerializedFile(shop(version).SerializeToString())
        descriptors[version] = pool.FindServiceByName(f"shop.{version}.Shop")
        service.implement(descriptors[version], Shop(version))
    async with service, grpc.aio.insecure_channel(service.address) as channel:
        health = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes, response_deserializer=bytes)
        for version, descriptor in descriptors.items():
            name = descriptor.full_name.encode()
            assert await health(b"\x0a" + bytes([len(name)]) + name) == b"\x08\x01"
            put = channel.unary_unary(f"/{descriptor.full_name}/Put", request_serializer=bytes, response_deserializer=bytes)
            assert await put(b"\x0a\x01x") == b"\x0a\x03x" + version.encode()
        with pytest.raises(errors.Unimplemented, match=r"/shop\.v2\.Shop/Put"):
            await service.client.call("shop", "Shop.Put", b"")

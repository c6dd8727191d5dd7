// Calls test.Echo as a page with the grpc-web library does; prints what came of it as JSON. Arguments: URL, format
// (`binary` or `text`), scenario.
import { toBinary, create, fromBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import grpcWeb from "grpc-web";
import xhr2 from "xhr2";

globalThis.XMLHttpRequest = xhr2;

const [url, format, scenario] = process.argv.slice(2);
const client = new grpcWeb.GrpcWebClientBase({ format });
const describe = (name, type) =>
  new grpcWeb.MethodDescriptor(
    `/test.Echo/${name}`,
    type,
    Object,
    Object,
    (value) => toBinary(StringValueSchema, create(StringValueSchema, { value })),
    (bytes) => fromBinary(StringValueSchema, bytes).value,
  );
const unary = (name, value, metadata = {}) =>
  client.unaryCall(`${url}/test.Echo/${name}`, value, metadata, describe(name, grpcWeb.MethodType.UNARY));
const failed = (error) => ({ code: error.code, message: error.message });
const streaming = (name, value, onData) =>
  new Promise((resolve) => {
    const got = [];
    const type = grpcWeb.MethodType.SERVER_STREAMING;
    const stream = client.serverStreaming(`${url}/test.Echo/${name}`, value, {}, describe(name, type));
    stream.on("data", (message) => {
      got.push(message);
      onData?.(got.length);
    });
    stream.on("error", (error) => resolve([...got, failed(error)]));
    stream.on("end", () => resolve(got));
  });

const scenarios = {
  unary: () => unary("Greet", "page"),
  // The service makes the second message when it is told that the first was seen.
  streaming: () => streaming("Count", "3", (count) => count === 1 && unary("Go", "")),
  fail: () => unary("Fail", "page").then(() => "answered", failed),
  failLate: () => streaming("FailLate", ""),
};
console.log(JSON.stringify(await scenarios[scenario]()));

// Calls test.Echo as a page with Connect's client does; prints what came of it as JSON. Arguments: URL, scenario.
import { create, createFileRegistry } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const method = (name, serverStreaming) => ({
  name,
  inputType: ".google.protobuf.StringValue",
  outputType: ".google.protobuf.StringValue",
  serverStreaming,
});
const file = create(FileDescriptorProtoSchema, {
  name: "echo.proto",
  package: "test",
  syntax: "proto3",
  dependency: ["google/protobuf/wrappers.proto"],
  service: [
    {
      name: "Echo",
      method: [
        ...["Greet", "Go", "Fail", "TimeLeft", "Metadata"].map((name) => method(name, false)),
        ...["Count", "FailLate"].map((name) => method(name, true)),
      ],
    },
  ],
});
const registry = createFileRegistry(file, (name) =>
  name === "google/protobuf/wrappers.proto" ? file_google_protobuf_wrappers.proto : undefined,
);

const [baseUrl, scenario] = process.argv.slice(2);
const client = createClient(registry.getService("test.Echo"), createGrpcWebTransport({ baseUrl }));
const failed = (error) => ({ code: error.code, message: error.rawMessage });

const scenarios = {
  async unary() {
    const seen = {};
    const options = {
      onHeader: (headers) => (seen.first = headers.get("x-first")),
      onTrailer: (trailers) => (seen.sum = trailers.get("x-sum-bin")),
    };
    const answer = await client.greet({ value: "page" }, options);
    return { ...seen, answer };
  },
  async streaming() {
    const got = [];
    for await (const message of client.count({ value: "3" })) {
      // The service makes the second message when it is told that the first was seen.
      if (got.length === 0) await client.go({ value: "" });
      got.push(message);
    }
    return got;
  },
  fail: () => client.fail({ value: "page" }).then(() => "answered", failed),
  async failLate() {
    const got = [];
    try {
      for await (const message of client.failLate({ value: "" })) got.push(message);
    } catch (error) {
      got.push(failed(error));
    }
    return got;
  },
  timeLeft: () => client.timeLeft({ value: "" }, { timeoutMs: 60_000 }),
};
console.log(JSON.stringify(await scenarios[scenario]()));

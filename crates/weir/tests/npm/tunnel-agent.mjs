// An agent of yamux-js over ws: each stream is a connection of an HTTP server. Arguments: URL, token.
import http from "node:http";
import WebSocket from "ws";
import { Server } from "yamux-js";

const [url, token] = process.argv.slice(2);
const server = http.createServer((request, response) => {
  let count = 0;
  request.on("data", (data) => (count += data.length));
  request.on("end", () => response.end(`js agent ${request.method} ${request.url} ${count}\n`));
});
const ws = new WebSocket(url, { headers: { authorization: `Bearer ${token}` } });
ws.on("open", () => {
  const session = new Server(
    (stream) => {
      // What the server expects of a socket beside a stream.
      stream.setTimeout = () => stream;
      stream.setNoDelay = () => stream;
      stream.setKeepAlive = () => stream;
      server.emit("connection", stream);
    },
    { logger: () => {} },
  );
  session.on("data", (data) => ws.send(data));
  ws.on("message", (data) => session.write(data));
  console.log("up");
});
ws.on("close", () => process.exit(0));
ws.on("error", (error) => {
  console.error(error.message);
  process.exit(1);
});

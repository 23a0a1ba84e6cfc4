// Makes calls of gRPC by Node's own HTTP/2, all at once over one connection: node client.mjs PORT.
// It reads [{path, messages: [hex], head}] and writes [{status, head, messages: [hex], trailers}].
import { connect } from "node:http2";
import { text } from "node:stream/consumers";

const PREFIX_BYTES = 5;

function framed(message) {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function messages(data) {
  const found = [];
  for (let at = 0; at < data.length; ) {
    const end = at + PREFIX_BYTES + data.readUInt32BE(at + 1);
    found.push(data.subarray(at + PREFIX_BYTES, end).toString("hex"));
    at = end;
  }
  return found;
}

function call(session, { path, messages: sent, head: more = {} }) {
  return new Promise((resolve, reject) => {
    const fields = { ":path": path, "content-type": "application/grpc", te: "trailers", ...more };
    const stream = session.request({ ":method": "POST", ...fields });
    const pieces = [];
    let head = {};
    let trailers = {};
    stream.on("response", (found) => (head = found));
    stream.on("trailers", (found) => (trailers = found));
    stream.on("data", (piece) => pieces.push(piece));
    stream.on("error", reject);
    stream.on("close", () =>
      resolve({
        status: head[":status"],
        head,
        messages: messages(Buffer.concat(pieces)),
        trailers: { ...trailers },
      }),
    );
    for (const message of sent) stream.write(framed(Buffer.from(message, "hex")));
    stream.end();
  });
}

const session = connect(`http://127.0.0.1:${process.argv[2]}`);
const calls = JSON.parse(await text(process.stdin));
const answers = await Promise.all(calls.map((each) => call(session, each)));
session.close();
process.stdout.write(JSON.stringify(answers));

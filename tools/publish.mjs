// Publishes one event with a client that is not ours, as a customer's Node program would.
// node publish.mjs <url> <subject> <headers JSON> <body>
import { connect, headers } from "@nats-io/transport-node";
import { jetstream } from "@nats-io/jetstream";

const [url, subject, given, body] = process.argv.slice(2);
const connection = await connect({ servers: url });
const attributes = headers();
for (const [name, value] of Object.entries(JSON.parse(given))) attributes.set(name, value);
const ack = await jetstream(connection).publish(subject, body, { headers: attributes });
console.log(ack.stream, ack.seq);
await connection.close();

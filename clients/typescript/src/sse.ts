/** A message of a server-sent event stream (WHATWG HTML, §9.2). */
export interface Message {
  /** The last id so far, of this message or an earlier one; "" when there was none. */
  id: string;
  event: string;
  /** undefined for what is no event: a comment, or an id alone. */
  data: string | undefined;
  /** What the stream asks to wait before connecting again, if it has just said so. */
  retryMilliseconds: number | undefined;
}

/** messages reads a stream to its end; comments are messages without data. */
export async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<Message> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let id = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return; // what is not ended by an empty line does not count
    text += decoder.decode(value, { stream: true });
    for (let end: number; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const message = read(text.slice(0, end), id);
      id = message.id;
      yield message;
    }
  }
}

function read(block: string, lastId: string): Message {
  const message: Message = { id: lastId, event: "message", data: undefined, retryMilliseconds: undefined };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "id") message.id = value ?? "";
    if (field === "event") message.event = value ?? "";
    if (field === "data") message.data = message.data === undefined ? (value ?? "") : `${message.data}\n${value ?? ""}`;
    if (field === "retry" && /^\d+$/.test(value ?? "")) message.retryMilliseconds = Number(value);
  }
  return message;
}

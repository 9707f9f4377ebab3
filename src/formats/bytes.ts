/** Takes a stream of chunks apart into pieces of wanted sizes. */
export class ByteReader {
  private readonly source: AsyncIterator<Uint8Array>;
  private held: Uint8Array[] = [];
  private size = 0;

  /** @param short makes the error for an end in the middle of a piece */
  constructor(source: AsyncIterable<Uint8Array>, private readonly short: () => Error) {
    this.source = source[Symbol.asyncIterator]();
  }

  /** The next bytes without taking them; fewer at the end. */
  async peek(length: number): Promise<Uint8Array> {
    await this.fill(length);
    return Buffer.concat(this.held).subarray(0, length);
  }

  /** Exactly `length` bytes, in memory of their own. @throws what `short` makes */
  async take(length: number): Promise<Uint8Array> {
    await this.fill(length);
    if (this.size < length) throw this.short();
    const out = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const chunk = this.held[0];
      const n = Math.min(chunk.length, length - done);
      out.set(chunk.subarray(0, n), done);
      done += n;
      if (n === chunk.length) this.held.shift();
      else this.held[0] = chunk.subarray(n);
    }
    this.size -= length;
    return out;
  }

  /** Everything not yet taken, chunk by chunk. */
  async *rest(): AsyncGenerator<Uint8Array> {
    yield* this.held.splice(0);
    this.size = 0;
    for (let next = await this.source.next(); !next.done; next = await this.source.next()) yield next.value;
  }

  private async fill(length: number): Promise<void> {
    while (this.size < length) {
      const { done, value } = await this.source.next();
      if (done) return;
      this.held.push(value);
      this.size += value.length;
    }
  }
}

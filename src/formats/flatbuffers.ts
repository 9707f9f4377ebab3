/**
 * A verifier of FlatBuffers, the encoding of Arrow's headers: apache-arrow follows every offset and length in them unseen. After it, every
 * one lies within the bytes, and no table is reached so often that reading takes long.
 */

/** What a table's slots hold, in order; null: a slot that is not read. */
export type Table = () => readonly (Slot | null)[];
export type Slot =
  | { kind: 'scalar'; bytes: 1 | 2 | 4 | 8 }
  | { kind: 'string' }
  | { kind: 'table'; table: Table }
  | { kind: 'scalars'; bytes: number }
  | { kind: 'tables'; table: Table }
  /** The table that the scalar in the slot before names. */
  | { kind: 'union'; tables: Readonly<Record<number, Table>> };

const MAX_DEPTH = 64;

/** @throws Error saying what is wrong */
export function verify(bytes: Uint8Array, root: Table): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // A table is at least its offset to its layout: more of them than fit are some of them again and again.
  let left = Math.max(64, bytes.length >> 2);
  const need = (at: number, count: number): void => { if (!(at >= 0 && count >= 0 && at + count <= bytes.length)) throw new Error(`an offset of its header leads to byte ${at} of ${bytes.length}`); };
  const target = (at: number): number => {
    need(at, 4);
    return at + view.getUint32(at, true);
  };
  /** Where the entries of a vector begin, and how many there are. */
  const vector = (at: number, width: number): { from: number; count: number } => {
    const start = target(at);
    need(start, 4);
    const count = view.getUint32(start, true);
    need(start + 4, count * width);
    return { from: start + 4, count };
  };
  const table = (at: number, layout: Table, depth: number): void => {
    if (depth > MAX_DEPTH) throw new Error(`its header is nested deeper than ${MAX_DEPTH} levels`);
    if (left-- === 0) throw new Error('its header refers to itself');
    need(at, 4);
    const slots = at - view.getInt32(at, true);
    need(slots, 4);
    const size = view.getUint16(slots, true);
    need(slots, Math.max(4, size));
    let before = 0;
    layout().forEach((slot, i) => {
      const offset = 4 + 2 * i + 2 <= size ? view.getUint16(slots + 4 + 2 * i, true) : 0;
      if (offset === 0 || slot === null) return;
      const place = at + offset;
      switch (slot.kind) {
        case 'scalar':
          need(place, slot.bytes);
          before = view.getUint8(place);
          return;
        case 'string': return void vector(place, 1);
        case 'scalars': return void vector(place, slot.bytes);
        case 'table': return table(target(place), slot.table, depth + 1);
        case 'union': {
          const chosen = slot.tables[before];
          if (!chosen) throw new Error(`its header holds something of kind ${before}, which is not read`);
          return table(target(place), chosen, depth + 1);
        }
        case 'tables': {
          const { from, count } = vector(place, 4);
          for (let k = 0; k < count; k++) table(target(from + 4 * k), slot.table, depth + 1);
        }
      }
    });
  };
  table(target(0), root, 0);
}

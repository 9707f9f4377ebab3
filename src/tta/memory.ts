import { tf, type Rng, type Tensor, type Tensor4D } from '@graft/kernels';

/** A stored image with the class it was predicted as. */
export interface Item { pixels: Float32Array; class: number; uncertainty: number; age: number }

/** What stays of a stream: at most `capacity` images, balanced over predicted classes. Items stand in the order they came. */
export abstract class Memory {
  items: Item[] = [];
  private shape: number[] = [0, 0, 0];

  constructor(protected readonly capacity: number, protected readonly classes: number) {}

  /** Makes room for an item of this class, or says no. */
  protected abstract admit(item: Item): boolean;

  /** @param x the batch [B, H, W, 3], `pixels` its values, of which image `i` is offered */
  offer(x: Tensor4D, pixels: Float32Array, i: number, label: number, uncertainty = 0): void {
    const size = x.size / x.shape[0];
    this.shape = x.shape.slice(1);
    const item = { pixels: pixels.slice(i * size, (i + 1) * size), class: label, uncertainty, age: 0 };
    if (this.admit(item)) this.items.push(item);
  }

  protected of(label: number): Item[] {
    return this.items.filter((item) => item.class === label);
  }

  /** The classes that hold the most. */
  protected largest(): number[] {
    const counts = Array.from({ length: this.classes }, (_, k) => this.of(k).length), most = Math.max(...counts);
    return counts.flatMap((n, k) => (n === most ? [k] : []));
  }

  protected remove(item: Item): void {
    this.items.splice(this.items.indexOf(item), 1);
  }

  get full(): boolean {
    return this.items.length >= this.capacity;
  }

  /** [n, H, W, 3]. */
  images(): Tensor4D {
    return tf.tensor(flat(this.items), [this.items.length, ...this.shape] as [number, number, number, number]);
  }

  state(): [string, Tensor][] {
    const numbers = (of: (item: Item) => number): Tensor => tf.tensor1d(this.items.map(of));
    return [['memory.images', this.images()], ['memory.class', numbers((i) => i.class)], ['memory.uncertainty', numbers((i) => i.uncertainty)], ['memory.age', numbers((i) => i.age)]];
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    const images = state.get('memory.images')!, pixels = images.dataSync() as Float32Array;
    const [labels, uncertainties, ages] = ['class', 'uncertainty', 'age'].map((n) => state.get(`memory.${n}`)!.dataSync());
    this.shape = images.shape.slice(1);
    const size = pixels.length / Math.max(1, labels.length);
    this.items = Array.from(labels, (label, i) => ({ pixels: pixels.slice(i * size, (i + 1) * size), class: label, uncertainty: uncertainties[i], age: ages[i] }));
  }
}

function flat(items: readonly Item[]): Float32Array {
  const all = new Float32Array(items.reduce((n, { pixels }) => n + pixels.length, 0));
  let at = 0;
  for (const { pixels } of items) {
    all.set(pixels, at);
    at += pixels.length;
  }
  return all;
}

/** RoTTA's memory (Yuan et al., 2023, §3.2): balanced by class, then young and certain before old and uncertain. */
export class TimelyMemory extends Memory {
  constructor(capacity: number, classes: number, private readonly timeliness = 1, private readonly doubt = 1) { super(capacity, classes); }

  /** λ_t / (1 + e^(-age/N)) + λ_u u / ln C */
  score({ age, uncertainty }: Pick<Item, 'age' | 'uncertainty'>): number {
    return this.timeliness / (1 + Math.exp(-age / this.capacity)) + (this.doubt * uncertainty) / Math.log(this.classes);
  }

  override offer(...args: Parameters<Memory['offer']>): void {
    super.offer(...args);
    for (const item of this.items) item.age++;
  }

  protected admit(item: Item): boolean {
    const room = this.of(item.class).length < this.capacity / this.classes;
    if (room && !this.full) return true;
    const among = room ? this.largest() : [item.class];
    const worst = this.items.filter((i) => among.includes(i.class)).reduce<Item | null>((w, i) => (w && this.score(w) >= this.score(i) ? w : i), null);
    if (worst && this.score(worst) <= this.score(item)) return false;
    if (worst) this.remove(worst);
    return true;
  }
}

/** NOTE's memory (Gong et al., 2022, §3.2): a reservoir sample of each predicted class, the classes balanced. */
export class ReservoirMemory extends Memory {
  /** How many of each class were offered. */
  private counts: number[];

  /** @param rng gives the generator of the n-th offer */
  constructor(capacity: number, classes: number, private readonly rng: (n: number) => Rng) {
    super(capacity, classes);
    this.counts = new Array<number>(classes).fill(0);
  }

  protected admit({ class: label }: Item): boolean {
    this.counts[label]++;
    if (!this.full) return true;
    const rng = this.rng(this.counts.reduce((a, b) => a + b));
    const pick = <T>(of: readonly T[]): T => of[rng.integer(of.length)];
    const largest = this.largest();
    if (largest.includes(label)) {
      if (rng.uniform() > this.of(label).length / this.counts[label]) return false;
      this.remove(pick(this.of(label)));
    } else {
      this.remove(pick(this.of(pick(largest))));
    }
    return true;
  }

  override state(): [string, Tensor][] {
    return [...super.state(), ['memory.counts', tf.tensor1d(this.counts)]];
  }

  override restore(state: ReadonlyMap<string, Tensor>): void {
    super.restore(state);
    this.counts = [...state.get('memory.counts')!.dataSync()];
  }
}

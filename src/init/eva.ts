import { patternValue } from '../adapters/targets.js';
import { pairNames, rankAt, type LoraConfig } from '../adapters/lora.js';
import { dataError, usageError } from '../errors.js';
import type { Graft } from '../formats/graft.js';
import type { Site } from '../models/site.js';
import type { OptionValues } from '../options.js';
import { observeInputs, sameInputs, type DataBatch } from './collect.js';
import type { Initialiser, Start } from './initialiser.js';
import { IncrementalPca } from './ipca.js';
import { freshLora, stored } from './lora-graft.js';

export interface EvaConfig extends OptionValues {
  /** ρ */
  rho: number;
  /** τ */
  tau: number;
  labelMask: boolean;
  whiten: boolean;
  adjustScaling: boolean;
  maxBatches: number;
}

/**
 * EVA: the rows of A are the leading right singular vectors of what the site reads, found by incremental principal component analysis
 * over batches until they stand still; ranks are shared out over the sites by explained variance (section 3). B = 0: the identity.
 */
const eva: Initialiser<EvaConfig> = {
  name: 'eva',
  summary: "A starts as the principal directions of each module's input, ranks follow the variance they explain",
  paper: { title: 'One Initialization to Rule them All: Fine-tuning via Explained Variance Adaptation', authors: 'Paischer et al.', year: 2024, url: 'https://arxiv.org/abs/2410.07170' },
  options: {
    rho: { type: 'number', default: 2, min: 1, describe: 'a module gets at most rho·r; 1: every module keeps r' },
    tau: { type: 'number', default: 0.99, min: 0, max: 1, describe: 'a component stands still when its cosine with its last version is at least this' },
    labelMask: { type: 'boolean', default: true, describe: 'only positions that the objective scores, where it scores tokens' },
    whiten: { type: 'boolean', default: false, describe: 'divide each row of A by the square root of its singular value' },
    adjustScaling: { type: 'boolean', default: true, describe: 'alpha follows the rank, so that alpha / rank stays' },
    maxBatches: { type: 'number', metavar: 'N', default: 512, min: 1, describe: 'stop here even if components still move' },
  },
  needsData: true,

  async run(start, options) {
    const { config, sites: targets } = freshLora(start.graft, start.model, 'eva');
    const sites = targets.filter((s) => s.kind === 'linear');
    if (sites.length === 0) throw usageError('eva starts linear modules; the graft has none');
    const groups = await decompose(start, options, sites, config);
    return write(start.graft, config, options, groups, ranksOf(groups, config, options), targets);
  },
};

export default eva;

/** Sites that read the same, and the components of what they read. */
class Group {
  readonly converged: boolean[];

  constructor(readonly sites: Site[], readonly pca: IncrementalPca, private readonly tau: number) {
    this.converged = new Array<boolean>(pca.k).fill(false);
  }

  /** Batches with fewer rows than components are passed over. */
  update(X: Float32Array): void {
    const { pca } = this;
    if (X.length / pca.d < pca.k) return;
    const before = pca.n > 0 ? pca.components : null;
    pca.update(X);
    if (before) this.converged.forEach((_, i) => { this.converged[i] = cosine(before, pca.components, i, pca.d) >= this.tau; });
  }
}

/** Rows of A and B are unit vectors. */
function cosine(A: Float64Array, B: Float64Array, row: number, d: number): number {
  let sum = 0;
  for (let j = row * d; j < (row + 1) * d; j++) sum += A[j] * B[j];
  return sum;
}

const most = (site: Site, c: LoraConfig, { rho }: EvaConfig): number => Math.min(site.dimIn, Math.round(rankAt(site, c) * rho));

const ratiosFor = (site: Site, group: Group, c: LoraConfig, o: EvaConfig): Float64Array => group.pca.explainedVarianceRatio.subarray(0, most(site, c, o));

/** Runs over the data, again from its start when it ends, until every component that is needed stands still. */
async function decompose({ data }: Start, options: EvaConfig, sites: Site[], config: LoraConfig): Promise<Group[]> {
  const keep = (b: DataBatch): Uint8Array | null => (options.labelMask ? b.scored : b.tokens);
  const groups = (await sameInputs(data!, sites, keep)).map((own) => new Group(own, new IncrementalPca(own[0].dimIn, Math.max(...own.map((s) => most(s, config, options)))), options.tau));
  const active = new Map(groups.map((g) => [g.sites[0], g]));
  let batches = 0;
  for (let known = -1; active.size > 0;) {
    if (known === batches) throw dataError('the data gives no batch with as many tokens as components are needed; give more data or a larger --batch-size');
    known = batches;
    for await (const batch of data!.batches()) {
      observeInputs(data!.runtime, batch, keep(batch), (s) => active.has(s), (s, X) => active.get(s)!.update(X));
      if (groups.every((g) => g.pca.n > 0)) { batches++; settle(); }
      if (batches >= options.maxBatches || active.size === 0) return groups;
    }
  }
  return groups;

  /** A group rests while the components its sites are allotted now stand still, and wakes when one is allotted more. */
  function settle(): void {
    const ranks = ranksOf(groups, config, options);
    for (const group of groups) {
      const needed = Math.max(...group.sites.map((s) => ranks.get(s.name)!));
      if (group.converged.slice(0, needed).every(Boolean)) active.delete(group.sites[0]);
      else active.set(group.sites[0], group);
    }
  }
}

const ranksOf = (groups: Group[], config: LoraConfig, options: EvaConfig): Map<string, number> =>
  redistribute(groups.flatMap((g) => g.sites.map((site) => ({ name: site.name, r: rankAt(site, config), ratios: ratiosFor(site, g, config, options) }))));

/**
 * Shares out Σ r: of the explained-variance ratios of all sites the largest, and a site's rank is how many of its own are among them.
 * Between equal ratios the earlier site wins.
 */
export function redistribute(sites: readonly { name: string; r: number; ratios: ArrayLike<number> }[]): Map<string, number> {
  const budget = sites.reduce((sum, s) => sum + s.r, 0);
  const pool = sites.flatMap(({ name, ratios }) => Array.from(ratios, (ratio) => ({ name, ratio }))).sort((a, b) => b.ratio - a.ratio);
  const ranks = new Map(sites.map((s) => [s.name, 0]));
  for (const { name } of pool.slice(0, budget)) ranks.set(name, ranks.get(name)! + 1);
  return ranks;
}

/** The graft with its new A, ranks and alphas; sites without rank are left out. */
function write(graft: Graft, config: LoraConfig, { whiten, adjustScaling }: EvaConfig, groups: Group[], ranks: Map<string, number>, targets: Site[]): Graft {
  const tensors = new Map(graft.tensors);
  const rankPattern: string[] = [], alphaPattern: string[] = [];
  for (const { sites, pca } of groups) {
    for (const site of sites) {
      const rank = ranks.get(site.name)!, r = rankAt(site, config);
      const names = pairNames(site);
      tensors.delete(`${site.name}.${names.A}`);
      tensors.delete(`${site.name}.${names.B}`);
      if (rank === 0) { tensors.delete(`${site.name}.lora_B.bias`); continue; }
      if (rank !== r) {
        rankPattern.push(`${site.name}=${rank}`);
        if (adjustScaling) alphaPattern.push(`${site.name}=${patternValue(config.alphaPattern, site.name, config.alpha) * rank / r}`);
      }
      const A = pca.components.slice(0, rank * pca.d).map((v, i) => (whiten ? v / Math.sqrt(pca.singularValues[Math.floor(i / pca.d)]) : v));
      tensors.set(`${site.name}.${names.A}`, stored(A, [rank, site.dimIn]));
      tensors.set(`${site.name}.${names.B}`, stored(new Float32Array(site.dimOut * rank), [site.dimOut, rank]));
    }
  }
  const kept = targets.filter((s) => ranks.get(s.name) !== 0).map((s) => s.name);
  const changed = {
    ...(kept.length < targets.length ? { targetModules: kept } : {}),
    ...(rankPattern.length > 0 ? { rankPattern: [...rankPattern, ...(config.rankPattern ?? [])] } : {}),
    ...(alphaPattern.length > 0 ? { alphaPattern: [...alphaPattern, ...(config.alphaPattern ?? [])] } : {}),
  };
  return { ...graft, config: { ...graft.config, ...changed }, tensors };
}

import { Field, Utf8, vectorFromArray } from 'apache-arrow';
import { withColumn } from '../../data/columns.js';
import { writeTable } from '../../data/write.js';
import { dataError, usageError } from '../../errors.js';
import type { Operation } from './operation.js';
import { openInput } from './rows.js';

/**
 * Sequences dressed as text for a language model (Lingo: Zhan et al., 2024, https://arxiv.org/abs/2402.08777): a template around each, which
 * for DNA names the domain, and the letters in groups with spaces between them. In groups of one, each nucleotide is one token of the model's
 * own, which is the paper's one-hot input but for which rows of the embedding table stand for the four.
 */
const operation: Operation = {
  name: 'wrap',
  summary: 'put a template around each text, as around sequences of DNA; its letters in groups',
  operands: '[FILE]',
  options: {
    template: { type: 'string', metavar: 'TEXT', describe: 'what stands around {}, the text; \\n is a line end', default: '{}' },
    kmer: { type: 'number', metavar: 'K', min: 1, describe: 'spaces after every K letters; 1: each is a token' },
    complement: { type: 'boolean', default: false, describe: 'A and T change places, and C and G: the other strand' },
  },
  async run(args) {
    const { kmer, complement } = args, parts = String(args.template).replaceAll('\\n', '\n').split('{}');
    if (parts.length !== 2) throw usageError(`--template ${args.template}: {} must stand in it once, for the text`);
    if (kmer !== undefined && !Number.isInteger(kmer)) throw usageError(`--kmer ${kmer}: it must be a whole number`);
    const table = await openInput(args);
    table.requireColumns(['text']);
    let row = 0;
    const dressed = (text: unknown): string => {
      row++;
      if (typeof text !== 'string') throw dataError(`${table.name}: row ${row}: text is ${text === null || text === undefined ? 'missing' : `${JSON.stringify(text)}, no text`}`);
      const strand = complement ? complementOf(text) : text;
      return parts.join(kmer === undefined ? strand : strand.replace(new RegExp(`(.{${kmer}})(?=.)`, 'gsu'), '$1 '));
    };
    const flow = withColumn({ schema: table.schema, batches: table.batches() }, new Field('text', new Utf8(), false),
      (batch) => vectorFromArray(Array.from(batch.getChild('text')!, dressed), new Utf8()).data[0]);
    await writeTable(args.output, flow.schema, flow.batches);
  },
};

export default operation;

const PAIRS = new Map(['AT', 'TA', 'CG', 'GC', 'at', 'ta', 'cg', 'gc'].map(([a, b]) => [a, b]));

/** Letters other than A, C, G and T stay. */
const complementOf = (sequence: string): string => Array.from(sequence, (c) => PAIRS.get(c) ?? c).join('');

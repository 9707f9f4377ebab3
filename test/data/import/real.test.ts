import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { folder, produced } from '../support.js';

const data = process.env.GRAFT_DATA ?? new URL('../../../../../shared/data', import.meta.url).pathname;

/** What the publishers' files hold, by their documentation. */
const EXPECTED: [rows: number, classes: string[] | number | null, ...argv: string[]][] = [
  [6920, ['0', '1'], '--header', 'none', '--names', 'text,label', 'sst2/train.tsv'],
  [5452, ['ABBR', 'DESC', 'ENTY', 'HUM', 'LOC', 'NUM'], '--format', 'text', '--encoding', 'latin1', '--pattern', '^(?<label>\\w+):(?<fine>\\w+) (?<text>.*)$', 'trec/TREC.train'],
  [1000, ['World', 'Sports', 'Business', 'Sci/Tech'], '--header', 'none', '--names', 'label,title,text', '--labels', 'World,Sports,Business,Sci/Tech', '--first-label', '1', 'ag-news/test-1000.csv'],
  [8551, ['0', '1'], '--header', 'none', '--names', 'source,label,mark,text', 'cola/in_domain_train.tsv'],
  [10662, ['0', '1'], '--format', 'text', '--encoding', 'latin1', '--pattern', '^(?<label>[01]) (?<text>.*)$', 'sentence-polarity/rt-polarity.all'],
  [604, null, '--format', 'conll', 'masakhaner/swa/test.txt'],
  [1000, null, 'universal-dependencies/tr_pud-ud-test.conllu'],
  [1319, null, 'gsm8k/test.jsonl'],
  [1000, null, 'pubmedqa/ori_pqal.json'],
  [200, null, '--format', 'fasta', 'enhancers/enhancer.ind.txt'],
  [4071, null, 'translation/parallel.en-es.tsv'],
  [10000, 10, 'mnist/t10k-images-idx3-ubyte.gz', 'mnist/t10k-labels-idx1-ubyte.gz'],
  [10000, 10, 'cifar10/cifar10-test.tar'],
  [1800, 10, '--pattern', '(?<label>\\d)_(?<speaker>\\w+)_(?<take>\\d+)', 'fsdd/fsdd-recordings.tar'],
];

for (const [count, classes, ...argv] of EXPECTED) {
  const files = argv.filter((a) => /^[a-z0-9-]+\//.test(a));
  test(`real data: ${files.join(' ')} has ${count} rows`, async (t) => {
    if (!files.every((f) => existsSync(join(data, f)))) return t.skip(`${files[0]} is not here; GRAFT_DATA says where the data sets are`);
    const { rows, table } = await produced(folder(t), 'import', ...argv.map((a) => (files.includes(a) ? join(data, a) : a)));
    assert.equal(rows.length, count);
    if (Array.isArray(classes)) assert.deepEqual(table.classNames('label'), classes);
    if (typeof classes === 'number') assert.equal(table.classNames('label')!.length, classes);
  });
}

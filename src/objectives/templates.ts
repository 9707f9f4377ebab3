/** How the columns of a row become a prompt. The response follows it directly (language-model tuning by example). */
export interface Template {
  summary: string;
  columns: readonly string[];
  prompt(row: Record<string, unknown>): string;
}

const text = (value: unknown): string => (value === null || value === undefined ? '' : String(value));

const ALPACA = 'Write a response that appropriately completes the request.';

/** `alpaca`: Taori et al., 2023, with their two preambles. */
export const TEMPLATES: Record<string, Template> = {
  plain: { summary: 'the prompt as it is', columns: ['prompt', 'response'], prompt: (row) => text(row.prompt) },
  alpaca: {
    summary: 'instruction and input under the headings of Alpaca', columns: ['instruction', 'response'],
    prompt: (row) => {
      const instruction = text(row.instruction), input = text(row.input);
      return input === ''
        ? `Below is an instruction that describes a task. ${ALPACA}\n\n### Instruction:\n${instruction}\n\n### Response:`
        : `Below is an instruction that describes a task, paired with an input that provides further context. ${ALPACA}\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:`;
    },
  },
};

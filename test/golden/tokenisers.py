"""Makes the tokenizer.json files of test/data/tokenizer.test.ts, one of each common kind, and what the Python tokenizers make of texts.

Run with tokenizers and transformers installed:  python test/golden/tokenisers.py
writes test/golden/tokenizers/<kind>/{tokenizer.json,tokenizer_config.json} and test/golden/tokenizers/<kind>.json.
"""
import json, pathlib

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent / 'tokenizers'
CORPUS = [
    'The quick brown fox jumps over the lazy dog while the other dogs are sleeping in the warm sun.',
    'Low-rank adapters change a large frozen model by a small trained matrix; prompts change its input.',
    'Who was the first man to walk on the moon? What is the capital of France? Where do penguins live?',
    'Das Café am Ufer kostet heute 12,50 Euro; naïve Gäste zahlen über 100 mehr.', 'numbers 0 1 2 3 4 5 6 7 8 9 2024 1999',
] * 3
TEXTS = [
    'Who was the first man on the moon?', '', 'graft', "A tokeniser splits unbelievably long words; doesn't it?", '  spaces\tand\nlines  ',
    'Das Café kostet 12,50 € – naïve Leute zahlen mehr.', 'ALL CAPS AND numbers 1234567890', '東京 is the capital of 日本', 'emoji 🙂 and symbols ©®™',
]
PAIRS = [['The lazy dog', 'sleeps in the sun'], ['What is the capital of France? Where is it?', 'Paris'], ['Paris', 'the capital of France, where penguins do not live']]
WORDS = [['John', 'Smith', 'lives', 'in', 'Paris', ',', 'France', '.'], ['unbelievable', 'naïve', '12,50', '€'], ['The', 'quick-brown', "fox's", 'moon']]
LIMITS = [7, 8, 9, 12]


def wordpiece():
    t = Tokenizer(models.WordPiece(unk_token='[UNK]'))
    t.normalizer, t.pre_tokenizer, t.decoder = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    t.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'], show_progress=False))
    t.post_processor = processors.TemplateProcessing(single='[CLS] $A [SEP]', pair='[CLS] $A [SEP] $B:1 [SEP]:1', special_tokens=[('[CLS]', 2), ('[SEP]', 3)])
    return t, dict(unk_token='[UNK]', pad_token='[PAD]', cls_token='[CLS]', sep_token='[SEP]', mask_token='[MASK]', model_max_length=40)


def bytelevel(special, post, **named):
    t = Tokenizer(models.BPE())
    # With the prefix space that word-by-word use needs; whole texts are compared without it.
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    if post:
        t.post_processor = processors.RobertaProcessing(('</s>', 2), ('<s>', 0), add_prefix_space=False)
    return t, dict(named, model_max_length=40)


def unigram():
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace('  ', ' ')])
    t.pre_tokenizer, t.decoder = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]), decoders.Metaspace()
    t.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=250, special_tokens=['<s>', '<pad>', '</s>', '<unk>', '<mask>'], unk_token='<unk>', show_progress=False))
    t.post_processor = processors.TemplateProcessing(single='<s> $A </s>', pair='<s> $A </s> </s> $B </s>', special_tokens=[('<s>', 0), ('</s>', 2)])
    return t, dict(unk_token='<unk>', pad_token='<pad>', cls_token='<s>', sep_token='</s>', mask_token='<mask>', bos_token='<s>', eos_token='</s>', model_max_length=40)


def fallback():
    t = Tokenizer(models.BPE(unk_token='<unk>', byte_fallback=True, fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme='first', split=False)
    t.decoder = decoders.Sequence([decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(' ', 1, 0)])
    special = ['<unk>', '<s>', '</s>'] + [f'<0x{i:02X}>' for i in range(256)]
    # Trained on single words: the whole sentence is one piece to the pre-tokeniser.
    t.train_from_iterator([w for line in CORPUS for w in line.split()], trainers.BpeTrainer(vocab_size=460, special_tokens=special, show_progress=False))
    raw = json.loads(t.to_str())
    raw['added_tokens'] = [a for a in raw['added_tokens'] if not a['content'].startswith('<0x')]
    t = Tokenizer.from_str(json.dumps(raw))
    t.post_processor = processors.TemplateProcessing(single='<s> $A', pair='<s> $A <s>:1 $B:1', special_tokens=[('<s>', 1)])
    return t, dict(unk_token='<unk>', bos_token='<s>', eos_token='</s>', pad_token='</s>', model_max_length=40)


KINDS = {
    'wordpiece': wordpiece,
    'gpt2': lambda: bytelevel(['<|endoftext|>'], False, bos_token='<|endoftext|>', eos_token='<|endoftext|>', unk_token='<|endoftext|>', pad_token='<|endoftext|>'),
    'roberta': lambda: bytelevel(['<s>', '<pad>', '</s>', '<unk>', '<mask>'], True, bos_token='<s>', eos_token='</s>', unk_token='<unk>', pad_token='<pad>', mask_token='<mask>'),
    'unigram': unigram, 'llama': fallback,
}

for kind, make in KINDS.items():
    folder = HERE / kind
    folder.mkdir(parents=True, exist_ok=True)
    raw, named = make()
    raw.save(str(folder / 'tokenizer.json'), pretty=False)
    (folder / 'tokenizer_config.json').write_text(json.dumps(named) + '\n')
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, **named)
    record = {'pad': fast.pad_token_id, 'mask': fast.mask_token_id, 'texts': [], 'pairs': [], 'words': []}
    record['texts'] = [{'text': t, 'ids': fast(t)['input_ids']} for t in TEXTS]
    for a, b in PAIRS:
        for limit in LIMITS:
            raw.enable_truncation(limit)
            e = raw.encode(a, b)
            # Without a post-processor there are no segments: no such model reads them.
            types = e.type_ids if raw.post_processor else [0] * len(e.ids)
            record['pairs'].append({'text': a, 'pair': b, 'limit': limit, 'ids': e.ids, 'types': types})
            raw.no_truncation()
    if raw.pre_tokenizer.__class__.__name__ == 'ByteLevel':
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for words in WORDS:
        e = raw.encode(words, is_pretokenized=True)
        starts = [w if w is not None and (i == 0 or e.word_ids[i - 1] != w) else -1 for i, w in enumerate(e.word_ids)]
        record['words'].append({'words': words, 'ids': e.ids, 'starts': starts})
    (HERE / f'{kind}.json').write_text(json.dumps(record, ensure_ascii=False) + '\n')

"""Random DeepSeek models of a few thousand numbers, a tokenizer trained on a few sentences, and conversations."""

import json

import torch

COLOURS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black", "blood": "red", "sun": "yellow"}
SENTENCES = [f"what colour is the {thing} ? it is {colour} ." for thing, colour in COLOURS.items()]
SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>", "<user>", "<bot>"]
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<user>{{ m['content'] }}"
    "{% elif m['role'] == 'assistant' %}<bot>{{ m['content'] }}<eos>"
    "{% else %}{{ raise_exception('no role ' + m['role']) }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<bot>{% endif %}"
)
SMALL = {
    "hidden_size": 32,
    "moe_intermediate_size": 16,
    "num_attention_heads": 2,
    "q_lora_rank": 8,
    "n_shared_experts": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
V3 = {
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "qk_nope_head_dim": 8,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
V4 = {
    "num_hidden_layers": 3,
    "head_dim": 16,
    "partial_rotary_factor": 0.5,
    "o_groups": 2,
    "o_lora_rank": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 32,
    "sliding_window": 16,
    "hc_mult": 2,
    "hc_sinkhorn_iters": 3,
    "layer_types": ["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"],
    "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
    "mlp_layer_types": ["hash_moe", "moe", "moe"],
}


def build_tokenizer(template=TEMPLATE):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=template, **names)


def write_base(folder, *, version=3, shard_size="50GB"):
    """A folder as a published checkpoint has it."""
    import transformers

    tokenizer = build_tokenizer()
    values = {**SMALL, **(V3 if version == 3 else V4), "vocab_size": len(tokenizer)}
    config = getattr(transformers, f"DeepseekV{version}Config")(**values)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(version)
        network = getattr(transformers, f"DeepseekV{version}ForCausalLM")(config)
        for name, buffer in network.named_buffers():
            if name.endswith("tid2eid"):
                buffer.copy_(torch.randint(0, 4, buffer.shape))
    network.save_pretrained(folder, max_shard_size=shard_size)
    tokenizer.save_pretrained(folder)
    return folder


def build_records(count=24):
    things = list(COLOURS)
    return [
        {
            "messages": [
                {"role": "user", "content": f"what colour is the {things[row % len(things)]} ?"},
                {"role": "assistant", "content": f"it is {COLOURS[things[row % len(things)]]} ."},
            ]
        }
        for row in range(count)
    ]


def write_texts(path, records=None):
    path.write_text("".join(json.dumps(record) + "\n" for record in records or build_records()))
    return path

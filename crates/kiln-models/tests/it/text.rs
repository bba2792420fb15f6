//! Networks on text: sizes, names and outputs of transformers.

use kiln_models::kiln_nn::{Forward, Linear, Module, StateDict, Tensor};
use kiln_models::{BertConfig, BertInput, BertModel, GPT2Config, GPT2LMHeadModel, GPT2Model};

use super::{Recorded, assert_recorded, assert_size, names, seeded};

fn gpt2_config() -> GPT2Config {
    GPT2Config { vocab_size: 50, n_positions: 16, n_embd: 24, n_layer: 3, n_head: 4, ..GPT2Config::default() }
}

fn bert_config() -> BertConfig {
    BertConfig {
        vocab_size: 50,
        hidden_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        intermediate_size: 48,
        max_position_embeddings: 16,
        ..BertConfig::default()
    }
}

/// Every fourth token.
fn tokens() -> Tensor {
    Tensor::from_vec((0..12).map(|i| 4 * i).collect::<Vec<i64>>(), [2, 6]).unwrap()
}

#[test]
fn gpt2_computes_what_transformers_computes() {
    let _turn = seeded();
    let net = GPT2LMHeadModel::new(&gpt2_config()).unwrap();
    net.eval();
    assert_size(&net, 23_304, 41);
    let want = Recorded {
        abs_sum: 48.95063781738281,
        head: &[0.3344167, 0.0712079, 0.0192153, 0.0651831],
        tail: &[0.0216652, 0.0158853],
    };
    assert_recorded(&net.forward(&tokens()).unwrap(), &want, 1e-5);
    let text = net.generate(&tokens().narrow(1, 0, 4).unwrap(), 8).unwrap();
    let want = [0, 4, 8, 12, 6, 6, 6, 6, 6, 6, 6, 6, 24, 28, 32, 36, 36, 32, 32, 32, 32, 32, 32, 32];
    assert_eq!(text.to_vec::<i64>().unwrap(), want);
    // Beyond the positions only the end of the text is seen.
    assert_eq!(net.generate(&tokens(), 12).unwrap().dims(), [2, 18]);
}

#[test]
fn gpt2_has_the_names_of_transformers() {
    let _turn = seeded();
    let block = [
        "ln_1.weight",
        "ln_1.bias",
        "attn.c_attn.weight",
        "attn.c_attn.bias",
        "attn.c_proj.weight",
        "attn.c_proj.bias",
        "ln_2.weight",
        "ln_2.bias",
        "mlp.c_fc.weight",
        "mlp.c_fc.bias",
        "mlp.c_proj.weight",
        "mlp.c_proj.bias",
    ];
    let mut want = vec!["transformer.wte.weight".to_owned(), "transformer.wpe.weight".to_owned()];
    want.extend((0..3).flat_map(|i| block.map(|name| format!("transformer.h.{i}.{name}"))));
    want.extend(["transformer.ln_f.weight", "transformer.ln_f.bias", "lm_head.weight"].map(str::to_owned));
    let net = GPT2LMHeadModel::new(&gpt2_config()).unwrap();
    assert_eq!(names(&net), want);
    // Linear layers' weights are the other way round, and the head is the embedding itself.
    let state = net.state_dict();
    assert_eq!(state.get("transformer.h.0.attn.c_attn.weight").unwrap().dims(), [24, 72]);
    assert!(
        state.get("lm_head.weight").unwrap().shares_storage(state.get("transformer.wte.weight").unwrap())
    );
}

#[test]
fn gpt2_loads_what_is_published() {
    let _turn = seeded();
    let (a, b) =
        (GPT2LMHeadModel::new(&gpt2_config()).unwrap(), GPT2LMHeadModel::new(&gpt2_config()).unwrap());
    // The first published file has no prefix and no head, but masks.
    let mut published: StateDict = a.transformer.state_dict().into_iter().collect();
    for i in 0..3 {
        published.insert(format!("h.{i}.attn.bias"), Tensor::ones([1, 1, 16, 16]).tril(0).unwrap());
    }
    b.load_pretrained(&published).unwrap();
    for net in [&a, &b] {
        net.eval();
    }
    assert!(a.forward(&tokens()).unwrap().equal(&b.forward(&tokens()).unwrap()).unwrap());
    let decoder = GPT2Model::new(&gpt2_config()).unwrap();
    decoder.load_pretrained(&a.state_dict()).unwrap();
    published.remove("ln_f.bias");
    let error = decoder.load_pretrained(&published).unwrap_err().to_string();
    assert!(error.contains("Missing key(s) in state_dict: \"ln_f.bias\""), "{error}");
}

#[test]
fn bert_computes_what_transformers_computes() {
    let _turn = seeded();
    let net = BertModel::new(&bert_config()).unwrap();
    net.eval();
    assert_size(&net, 16_896, 55);
    let mask = Tensor::from_vec(vec![1i64, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], [2, 6]).unwrap();
    let types = Tensor::from_vec(vec![0i64, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1], [2, 6]).unwrap();
    let input = BertInput { input_ids: &tokens(), attention_mask: Some(&mask), token_type_ids: Some(&types) };
    let output = net.encode(&input).unwrap();
    let want = Recorded {
        abs_sum: 224.4583740234375,
        head: &[-0.0935979, 0.3188072, -0.8082806, 1.8333735],
        tail: &[],
    };
    assert_recorded(&output.last_hidden_state, &want, 1e-5);
    let pooled = output.pooler_output.to_vec::<f32>().unwrap();
    for (got, want) in pooled.iter().zip([-0.1761439f32, -0.2151008, 0.0734443, -0.0756293]) {
        assert!((got - want).abs() < 1e-5, "{got}, expected {want}");
    }
    assert!((pooled[46] + 0.0187304).abs() < 1e-5 && (pooled[47] - 0.130084).abs() < 1e-5);
}

#[test]
fn bert_has_the_names_of_transformers_and_loads_older_ones() {
    let _turn = seeded();
    let mut want: Vec<String> = ["word", "position", "token_type"]
        .map(|kind| format!("embeddings.{kind}_embeddings.weight"))
        .into_iter()
        .chain(["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"].map(str::to_owned))
        .collect();
    let parts = [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "attention.output.LayerNorm",
        "intermediate.dense",
        "output.dense",
        "output.LayerNorm",
    ];
    let both = |part: &str| [format!("{part}.weight"), format!("{part}.bias")];
    want.extend((0..3).flat_map(|i| parts.map(|part| both(&format!("encoder.layer.{i}.{part}")))).flatten());
    want.extend(both("pooler.dense"));
    let (net, copy) = (BertModel::new(&bert_config()).unwrap(), BertModel::new(&bert_config()).unwrap());
    assert_eq!(names(&net), want);
    // What stands for nothing has a vector of zeros.
    let words = net.state_dict().get("embeddings.word_embeddings.weight").unwrap().clone();
    assert_eq!(words.select(0, 0).unwrap().to_vec::<f32>().unwrap(), [0.0; 24]);

    let mut published: StateDict = net
        .state_dict()
        .into_iter()
        .map(|(name, tensor)| {
            let name = name
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
            (format!("bert.{name}"), tensor)
        })
        .collect();
    published.insert("cls.seq_relationship.weight", Linear::new(24, 2).weight.tensor().clone());
    copy.load_pretrained(&published).unwrap();
    for net in [&net, &copy] {
        net.eval();
    }
    assert!(net.forward(&tokens()).unwrap().equal(&copy.forward(&tokens()).unwrap()).unwrap());
}

#[test]
fn input_that_does_not_fit_is_an_error() {
    let _turn = seeded();
    let (gpt2, bert) = (GPT2Model::new(&gpt2_config()).unwrap(), BertModel::new(&bert_config()).unwrap());
    let long = Tensor::from_vec(vec![1i64; 17], [1, 17]).unwrap();
    for error in [gpt2.forward(&long).err().unwrap(), bert.forward(&long).err().unwrap()] {
        assert!(error.to_string().contains("17 tokens are longer than the 16 positions"), "{error}");
    }
    let unknown = Tensor::from_vec(vec![50i64], [1, 1]).unwrap();
    assert!(gpt2.forward(&unknown).is_err() && bert.forward(&unknown).is_err());
    assert!(gpt2.forward(&tokens().select(0, 0).unwrap()).is_err());
    let mask = Tensor::ones([2, 5]);
    assert!(bert.encode(&BertInput { attention_mask: Some(&mask), ..BertInput::new(&tokens()) }).is_err());
    assert!(GPT2Model::new(&GPT2Config { n_head: 5, ..gpt2_config() }).is_err());
    assert!(BertModel::new(&BertConfig { num_attention_heads: 0, ..bert_config() }).is_err());
    assert!(BertModel::new(&BertConfig { pad_token_id: 50, ..bert_config() }).is_err());
}

//! Helpers around modules: what PyTorch keeps in `torch.nn.utils`.

pub mod rnn;

//! The data loader: order, workers, errors.

use kiln::data::{RandomSampler, SubsetRandomSampler, shared_generator};
use kiln::prelude::*;

fn numbers(n: i64) -> TensorDataset<Tensor> {
    TensorDataset::new(Tensor::from_vec((0..n).collect::<Vec<i64>>(), [n as usize]).unwrap()).unwrap()
}

fn order(loader: &DataLoader<TensorDataset<Tensor>>) -> Vec<i64> {
    loader.iter().flat_map(|b| b.unwrap().to_vec::<i64>().unwrap()).collect()
}

#[test]
fn shuffled_order_is_pytorchs_for_any_number_of_workers() {
    let _turn = crate::turn();
    // g = torch.Generator().manual_seed(3); list(DataLoader(range(10), batch_size=1, shuffle=True, generator=g)), twice
    let want = include!("data/loader_order.txt");
    for workers in [0, 1, 2, 3, 8] {
        let loader =
            DataLoader::new(numbers(10), 3).shuffle(true).num_workers(workers).generator(shared_generator(3));
        assert_eq!([order(&loader), order(&loader)], want, "{workers} workers");
    }
}

#[test]
fn batches_and_rests() {
    let _turn = crate::turn();
    let loader = DataLoader::new(numbers(10), 4);
    assert_eq!(loader.len(), 3);
    assert_eq!(loader.iter().map(|b| b.unwrap().numel()).collect::<Vec<_>>(), [4, 4, 2]);
    let loader = loader.drop_last(true);
    assert_eq!(loader.len(), 2);
    assert_eq!(loader.iter().map(|b| b.unwrap().numel()).collect::<Vec<_>>(), [4, 4]);
    let loader = DataLoader::new(numbers(10), 4).sampler(SubsetRandomSampler::new(&[7, 1, 4], None));
    let mut picked = order(&loader);
    picked.sort_unstable();
    assert_eq!(picked, [1, 4, 7]);
    let loader = DataLoader::new(numbers(3), 2).sampler(RandomSampler::new(3).num_samples(8));
    assert_eq!(order(&loader).len(), 8);
}

#[test]
fn an_empty_data_set_cannot_be_shuffled() {
    let _turn = crate::turn();
    assert_eq!(DataLoader::new(numbers(0), 4).iter().count(), 0);
    let error = DataLoader::new(numbers(0), 4).shuffle(true).iter().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("num_samples"), "{error}");
}

struct Faulty;

impl Dataset for Faulty {
    type Item = i64;

    fn len(&self) -> usize {
        100
    }

    fn get(&self, index: usize) -> Result<i64> {
        match index {
            30 => Err(Error::value("get", "sample 30 is damaged")),
            70 => panic!("sample 70 is worse"),
            i => Ok(i as i64),
        }
    }
}

#[test]
fn an_error_in_a_worker_ends_the_epoch_and_nothing_else() {
    let _turn = crate::turn();
    for workers in [0, 3] {
        let loader = DataLoader::new(Faulty, 8).num_workers(workers);
        let results: Vec<_> = loader.iter().collect();
        assert_eq!(results.len(), 4, "three whole batches and the error");
        let error = results[3].as_ref().unwrap_err().to_string();
        assert!(error.contains("sample 30 is damaged"), "{error}");
        // The loader is usable again, and may be left in the middle of an epoch.
        assert_eq!(loader.iter().take(2).filter(|b| b.is_ok()).count(), 2);
    }
    let loader = DataLoader::new(Faulty, 10).num_workers(2).sampler(Only70);
    let error = loader.iter().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("sample 70 is worse"), "{error}");
}

struct Only70;

impl kiln::data::Sampler for Only70 {
    fn len(&self) -> usize {
        1
    }

    fn iter(&self) -> kiln::data::IndexIter {
        Box::new(std::iter::once(Ok(70)))
    }
}

#[test]
fn random_split_cuts_without_overlap() {
    let _turn = crate::turn();
    manual_seed(0);
    let parts = random_split(numbers(10), &[7, 3], None).unwrap();
    let mut all: Vec<usize> = parts.iter().flat_map(|p| p.indices().to_vec()).collect();
    assert_eq!(parts[0].len(), 7);
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>());
    assert!(random_split(numbers(10), &[7, 2], None).is_err());
}

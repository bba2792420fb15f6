//! Products with few outputs and a long k, as weight gradients often are: there are too few tiles for all threads, but
//! the blocks of k are independent of each other until they are added up.

use super::engine::run;
use super::job::Job;
use super::pack::BLOCK;
use super::scratch::Scratch;
use super::{Float, Real};
use crate::cpu::arch::Isa;
use crate::cpu::pool;

/// Blocks that are summed side by side before they are added up, which bounds the memory they take.
const ROUND: usize = 64;
/// Multiply-adds below which one thread does it all.
const SMALL: usize = 1 << 19;

/// Whether a job is better cut along k.
pub(crate) fn worthwhile<T: Float>(isa: Isa, job: &Job<'_, T>) -> bool {
    let kernels = T::Acc::kernels(isa);
    let tiles = job.m.div_ceil(kernels.rows) * job.n.div_ceil(kernels.columns());
    tiles < 12 && job.k >= 4 * BLOCK && job.m * job.n * job.k >= SMALL
}

struct Sums<E>(*mut E);
// SAFETY: tasks write disjoint sums.
unsafe impl<E> Sync for Sums<E> {}

/// Computes a job block by block.
///
/// # Safety
/// As for [`run`].
pub(crate) unsafe fn run_split<T: Float>(isa: Isa, job: &Job<'_, T>) {
    let (m, n) = (job.m, job.n);
    let blocks = job.k.div_ceil(BLOCK);
    let one = m * n;
    let own = Scratch::new::<T::Acc>((blocks.min(ROUND) + 1) * one);
    let total = own.ptr::<T::Acc>();
    // SAFETY: the memory has room for the total and a sum for each block of a round.
    let sums = Sums(unsafe { total.add(one) });
    if job.accumulate {
        // SAFETY: C is m by n.
        unsafe { job.load(0..m, 0..n, total, n) };
    }
    for first in (0..blocks).step_by(ROUND) {
        let round = ROUND.min(blocks - first);
        pool::parallel_for(round, &|i| {
            let sums = &sums;
            let p = (first + i) * BLOCK;
            let block = Job::<T::Acc> {
                m,
                n,
                k: BLOCK.min(job.k - p),
                first: job.first + p,
                a: job.a,
                b: job.b,
                // SAFETY: the sum of block `i` of this round.
                c: unsafe { sums.0.add(i * one) },
                c_row: n as isize,
                c_column: 1,
                columns: None,
                accumulate: false,
                row_bias: std::ptr::null(),
                row_bias_step: 0,
                column_bias: std::ptr::null(),
                relu: false,
            };
            // SAFETY: the block lies inside the operands, and its sum is written by this task alone.
            unsafe { run(isa, &block, true) };
        });
        for i in 0..round {
            // SAFETY: all sums of the round are written; the total is, too, unless this is its first summand.
            unsafe {
                let sum = std::slice::from_raw_parts(sums.0.add(i * one), one);
                if first + i == 0 && !job.accumulate {
                    std::ptr::copy_nonoverlapping(sum.as_ptr(), total, one);
                } else {
                    let total = std::slice::from_raw_parts_mut(total, one);
                    total.iter_mut().zip(sum).for_each(|(t, &s)| *t = *t + s);
                }
            }
        }
    }
    // SAFETY: the total is complete.
    unsafe {
        for row in 0..m {
            job.finish(row, 0, std::slice::from_raw_parts_mut(total.add(row * n), n));
        }
        job.store(isa, 0..m, 0..n, total, n);
    }
}

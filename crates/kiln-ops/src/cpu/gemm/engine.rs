//! The blocked product: cuts C into tiles and k into blocks, packs what the kernels cannot read well in place, and hands
//! tiles to the thread pool.
//!
//! Every choice here (what is packed, how large tiles are, where threads take over) only moves work around. The
//! arithmetic of one element of C is fixed by [`super::micro`] and the block length alone.

use super::job::Job;
use super::micro::{Kernels, MAX_ROWS, Tile};
use super::pack::{BLOCK, LEFT_PANEL};
use super::scratch::Scratch;
use super::{Float, Real, split};
use crate::cpu::arch::Isa;
use crate::cpu::pool;
use std::ops::Range;

/// Rows and columns of the parts of C that are worked on at a time, which bounds the memory for packed panels.
const PART: usize = 2048;
/// The same when C is accumulated in a buffer of its own.
const BUFFERED_PART: usize = 1024;
/// Rows up to which reading the right operand by offsets is faster than packing it.
pub(crate) const FEW_ROWS: usize = 28;
/// Multiply-adds below which handing work to another thread costs more than it brings.
const SMALL_TASK: usize = 1 << 17;

/// How the right operand reaches the kernels.
#[derive(Clone, Copy, PartialEq)]
enum RightMode {
    InPlace,
    /// In place, rows being found by their offsets.
    Offsets,
    /// Every task packs the panel it is about to use.
    InTask,
    /// All panels of a block are packed first and then read by all tasks.
    Shared,
    /// Panels of all blocks were packed beforehand.
    Packed,
}

/// Calls `task` for `0..tasks` on the pool, or in place when asked to.
pub(crate) fn fan_out<F: Fn(usize) + Sync>(serial: bool, tasks: usize, task: &F) {
    if serial || tasks < 2 {
        (0..tasks).for_each(task);
    } else {
        pool::parallel_for(tasks, task);
    }
}

/// `count` things in runs of equal length (but the last) of at most `most`.
fn even_run(count: usize, most: usize) -> usize {
    count.div_ceil(count.div_ceil(most).max(1)).max(1)
}

/// One part of C, cut into panels and tiles.
struct Part<'a, T: Float> {
    job: &'a Job<'a, T>,
    isa: Isa,
    kernels: &'static Kernels<T::Acc>,
    rows: Range<usize>,
    columns: Range<usize>,
    /// Rows of a panel, and panels of a tile.
    panel_rows: usize,
    tile_panels: usize,
    /// Columns of a tile: a multiple of the widest kernel.
    tile_columns: usize,
    left: Option<(*const T::Acc, isize, isize)>,
    right: Option<(*const T::Acc, isize)>,
    offsets: Option<(*const T::Acc, &'a [usize])>,
    right_mode: RightMode,
    left_pack: *mut T::Acc,
    right_pack: *mut T::Acc,
    /// All panels and the distance of their blocks, if they were packed beforehand.
    packed: (*const T::Acc, usize),
    /// C as it grows: C itself or a buffer, at the first row and column of the part.
    sum: *mut T::Acc,
    sum_row: isize,
    buffered: bool,
}

// SAFETY: tasks write disjoint tiles of C and disjoint panels, and the phases that write and read panels are separate
// calls of the pool.
unsafe impl<T: Float> Sync for Part<'_, T> {}

impl<T: Float> Part<'_, T> {
    fn panels(&self) -> usize {
        self.rows.len().div_ceil(self.panel_rows)
    }

    fn tiles_down(&self) -> usize {
        self.panels().div_ceil(self.tile_panels)
    }

    fn tiles(&self) -> usize {
        self.tiles_down() * self.columns.len().div_ceil(self.tile_columns)
    }

    fn block(&self, block: usize) -> Range<usize> {
        self.job.first + block * BLOCK..self.job.first + ((block + 1) * BLOCK).min(self.job.k)
    }

    /// Packs panel `index` of the left operand, or, counting on, strip `index` of the right one.
    unsafe fn pack(&self, block: usize, index: usize) {
        let p = self.block(block);
        let left_panels = if self.left.is_none() { self.panels() } else { 0 };
        // SAFETY: panels and strips lie inside the operands, and their buffers have a slot for each.
        unsafe {
            if index < left_panels {
                let row = self.rows.start + index * self.panel_rows;
                let rows = self.panel_rows.min(self.rows.end - row);
                self.job.a.pack(
                    self.isa,
                    row,
                    rows,
                    p.start,
                    p.len(),
                    self.left_pack.add(index * LEFT_PANEL),
                );
            } else {
                let strip = index - left_panels;
                let width = self.kernels.columns();
                let column = self.columns.start + strip * width;
                let columns = width.min(self.columns.end - column);
                let to = self.right_pack.add(strip * width * BLOCK);
                self.job.b.pack(self.isa, column, columns, p.start, p.len(), to, width);
            }
        }
    }

    /// Computes one tile of C over some blocks of k.
    unsafe fn tile(&self, index: usize, blocks: Range<usize>, of: usize) {
        let (down, across) = (index % self.tiles_down(), index / self.tiles_down());
        let panels = down * self.tile_panels..((down + 1) * self.tile_panels).min(self.panels());
        let first = self.columns.start + across * self.tile_columns;
        let columns = first..(first + self.tile_columns).min(self.columns.end);
        let width = self.kernels.columns();
        let job = self.job;
        let own = match self.right_mode {
            RightMode::InTask => Scratch::new::<T::Acc>(width * BLOCK),
            _ => Scratch::none(),
        };
        let rows = self.rows_of(&panels);
        // A tile that is finished in this call has no need of the buffer that keeps sums between calls.
        let at_once = self.buffered && blocks.len() == of;
        let own_row = columns.len().next_multiple_of(16) + 16;
        let own_sum = if at_once { Scratch::new::<T::Acc>(rows.len() * own_row) } else { Scratch::none() };
        // SAFETY: all ranges lie inside the part, so pointers stay inside the operands, C, the panels and the buffers.
        unsafe {
            let (sum, sum_row) = match at_once {
                true => (own_sum.ptr(), own_row as isize),
                false => (self.sum_at(&rows, &columns), self.sum_row),
            };
            if self.buffered && job.accumulate && blocks.start == 0 {
                job.load(rows.clone(), columns.clone(), sum, sum_row as usize);
            }
            // A matrix read in place is followed along its rows, in which it lies in memory; a packed one strip by strip,
            // so that C stays close.
            let strips = columns.len().div_ceil(width);
            for i in 0..strips * blocks.len() {
                let (strip, block) = match self.right_mode {
                    RightMode::InPlace | RightMode::Offsets => (i % strips, i / strips),
                    _ => (i / blocks.len(), i % blocks.len()),
                };
                let column = columns.start + strip * width;
                let strip = column..(column + width).min(columns.end);
                let sum = (sum.add(column - columns.start), sum_row);
                self.strip(strip, &panels, blocks.start + block, of, &own, sum);
            }
            if self.buffered && blocks.end == of {
                job.store(self.isa, rows, columns.clone(), sum, sum_row as usize);
            }
        }
    }

    /// Computes one strip of a tile over one block of k; `sum` is where its first row grows, and the distance of rows.
    unsafe fn strip(
        &self,
        columns: Range<usize>,
        panels: &Range<usize>,
        block: usize,
        of: usize,
        own: &Scratch,
        (sum, sum_row): (*mut T::Acc, isize),
    ) {
        let (job, width) = (self.job, self.kernels.columns());
        let (column, wide) = (columns.start, columns.len());
        // SAFETY: the strip lies inside the part.
        unsafe {
            let p = self.block(block);
            let null = std::ptr::null();
            let mut b_offsets = std::ptr::null();
            let (b, b_row) = match (self.right_mode, self.right) {
                (RightMode::InPlace, Some((b, row))) => (b.offset(p.start as isize * row).add(column), row),
                (RightMode::Offsets, _) => {
                    let (b, offsets) = self.offsets.unwrap_or((null, &[]));
                    b_offsets = offsets.as_ptr().add(p.start);
                    (b.add(column), 0)
                }
                (RightMode::InTask, _) => {
                    job.b.pack(self.isa, column, wide, p.start, p.len(), own.ptr(), width);
                    (own.ptr::<T::Acc>().cast_const(), width as isize)
                }
                (RightMode::Packed, _) => {
                    let (panels, step) = self.packed;
                    (panels.add(p.start / BLOCK * step + column * BLOCK), width as isize)
                }
                _ => {
                    let at = (column - self.columns.start) * BLOCK;
                    (self.right_pack.add(at).cast_const(), width as isize)
                }
            };
            let last_block = block + 1 == of;
            // In place, the next strip lies beside this one.
            let ahead = if self.right_mode == RightMode::InPlace { width as isize } else { 0 };
            let column_bias =
                if last_block && !job.column_bias.is_null() { job.column_bias.add(column) } else { null };
            let row_bias = if last_block { job.row_bias } else { null };
            for panel in panels.clone() {
                let row = self.rows.start + panel * self.panel_rows;
                let rows = self.panel_rows.min(self.rows.end - row);
                let (a, a_row, a_col) = match self.left {
                    Some((a, r, c)) => (a.offset(row as isize * r + p.start as isize * c), r, c),
                    None => {
                        let (r, c) = job.a.panel_steps();
                        (self.left_pack.add(panel * LEFT_PANEL).cast_const(), r, c)
                    }
                };
                let (kernel, last) = self.kernels.select(rows, wide, !b_offsets.is_null());
                let c = sum.offset(((panel - panels.start) * self.panel_rows) as isize * sum_row);
                kernel(&Tile {
                    k: p.len(),
                    a,
                    a_row,
                    a_col,
                    b,
                    b_row,
                    b_offsets,
                    ahead,
                    c,
                    c_row: sum_row,
                    last,
                    add: block > 0 || job.accumulate,
                    row_bias: row_bias.wrapping_offset(if row_bias.is_null() {
                        0
                    } else {
                        row as isize * job.row_bias_step
                    }),
                    row_bias_step: job.row_bias_step,
                    column_bias,
                    relu: last_block && job.relu,
                });
            }
        }
    }

    /// The rows of some panels.
    fn rows_of(&self, panels: &Range<usize>) -> Range<usize> {
        let first = self.rows.start + panels.start * self.panel_rows;
        first..(self.rows.start + panels.end * self.panel_rows).min(self.rows.end)
    }

    /// Where a tile of C grows.
    unsafe fn sum_at(&self, rows: &Range<usize>, columns: &Range<usize>) -> *mut T::Acc {
        // SAFETY: rows and columns lie inside the part.
        unsafe {
            self.sum
                .offset((rows.start - self.rows.start) as isize * self.sum_row)
                .add(columns.start - self.columns.start)
        }
    }
}

/// Computes a job with the kernels of `isa`, on the calling thread alone when `serial`.
///
/// # Safety
/// The machine has `isa`; pointers and strides stay inside their matrices; C overlaps nothing that is read.
pub(crate) unsafe fn run<T: Float>(isa: Isa, job: &Job<'_, T>, serial: bool) {
    if job.m == 0 || job.n == 0 {
        return;
    }
    if !serial && split::worthwhile(isa, job) {
        // SAFETY: passed on to the caller.
        return unsafe { split::run_split(isa, job) };
    }
    let kernels = T::Acc::kernels(isa);
    let buffered = !job.in_place();
    let part = if buffered { BUFFERED_PART } else { PART };
    let blocks = job.k.div_ceil(BLOCK).max(1);
    let (part_rows, part_columns) =
        (even_run(job.m, part), even_run(job.n, part).next_multiple_of(kernels.columns()));
    for column in (0..job.n).step_by(part_columns) {
        for row in (0..job.m).step_by(part_rows) {
            let rows = row..(row + part_rows).min(job.m);
            let columns = column..(column + part_columns).min(job.n);
            // SAFETY: the part lies inside C.
            unsafe { run_part(isa, kernels, job, rows, columns, blocks, buffered, serial) };
        }
    }
}

unsafe fn run_part<T: Float>(
    isa: Isa,
    kernels: &'static Kernels<T::Acc>,
    job: &Job<'_, T>,
    rows: Range<usize>,
    columns: Range<usize>,
    blocks: usize,
    buffered: bool,
    serial: bool,
) {
    let (m, n, k, width) = (rows.len(), columns.len(), job.k, kernels.columns());
    let panel_rows = even_run(m, kernels.rows);
    let panels = m.div_ceil(panel_rows);

    // Tiles: a strip of B (one panel of which stays in the first-level cache) times rows of A that fit the second level;
    // cut further until there is something for every thread to do, but never into tasks too small to hand over.
    let mut tile_panels = even_run(panels, (140 / panel_rows).max(1));
    let mut strips = even_run(n.div_ceil(width), 8);
    let work = |panels: usize, strips: usize| (panels * panel_rows) * (strips * width).min(n) * k.max(1);
    let count = |a: usize, b: usize| panels.div_ceil(a) * n.div_ceil(width * b);
    while !serial && count(tile_panels, strips) < 8 && work(tile_panels, strips) > 2 * SMALL_TASK {
        if strips > 1 && (strips * width >= tile_panels * panel_rows || tile_panels == 1) {
            strips = strips.div_ceil(2);
        } else if tile_panels > 1 {
            tile_panels = tile_panels.div_ceil(2);
        } else {
            break;
        }
    }

    // A is worth packing when it is read many times, B when it is read a few times: in place its rows lie far apart.
    let left = job.a.in_place().filter(|_| n <= 4 * width || m * k <= 1 << 15);
    let right = job.b.in_place().filter(|_| m <= 3 * kernels.rows || n * k <= 1 << 15);
    let offsets = job.b.offsets().filter(|_| m <= FEW_ROWS);
    let packed = job.b.packed();
    let right_mode = match right {
        _ if packed.is_some() => RightMode::Packed,
        Some(_) => RightMode::InPlace,
        None if offsets.is_some() => RightMode::Offsets,
        None if panels <= tile_panels => RightMode::InTask,
        None => RightMode::Shared,
    };
    let left_pack = match left {
        Some(_) => Scratch::none(),
        None => Scratch::new::<T::Acc>(panels * LEFT_PANEL),
    };
    let right_pack = match right_mode {
        RightMode::Shared => Scratch::new::<T::Acc>(n.next_multiple_of(width) * BLOCK),
        _ => Scratch::none(),
    };
    let packs = if left.is_none() { panels } else { 0 }
        + if right_mode == RightMode::Shared { n.div_ceil(width) } else { 0 };
    let sum_row = n.next_multiple_of(16) + 16;
    let kept = buffered && packs > 0 && blocks > 1;
    let sum_buffer = if kept { Scratch::new::<T::Acc>(m * sum_row) } else { Scratch::none() };
    let (sum, sum_row) = match buffered {
        true => (sum_buffer.ptr(), sum_row as isize),
        false => {
            // SAFETY: the start of the part lies inside C.
            let at = unsafe { job.c.offset(rows.start as isize * job.c_row).add(columns.start) };
            (at.cast(), job.c_row)
        }
    };
    let part = Part {
        job,
        isa,
        kernels,
        rows,
        columns,
        panel_rows,
        tile_panels,
        tile_columns: strips * width,
        left,
        right,
        offsets,
        right_mode,
        left_pack: left_pack.ptr(),
        right_pack: right_pack.ptr(),
        packed: packed.unwrap_or((std::ptr::null(), 0)),
        sum,
        sum_row,
        buffered,
    };
    let tiles = part.tiles();
    let serial = serial || m * n * k.max(1) < 2 * SMALL_TASK;
    // SAFETY: each call of `pack` and `tile` writes its own panel or tile.
    unsafe {
        if packs == 0 {
            fan_out(serial, tiles, &|i| part.tile(i, 0..blocks, blocks));
            return;
        }
        for block in 0..blocks {
            fan_out(serial || packs < 4, packs, &|i| part.pack(block, i));
            fan_out(serial, tiles, &|i| part.tile(i, block..block + 1, blocks));
        }
    }
}

const _: () = assert!(LEFT_PANEL >= MAX_ROWS * BLOCK);

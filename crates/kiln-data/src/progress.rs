//! A bar that shows how far a loop is.

/// Wraps a loop over batches: a bar on standard error while it runs, when that is a terminal.
///
/// ```
/// use kiln_data::progress::Progress;
/// let progress = Progress::new("epoch 1", 3);
/// for loss in [0.5, 0.4, 0.3] {
///     progress.step(format!("loss {loss:.3}"));
/// }
/// progress.finish();
/// ```
pub struct Progress {
    #[cfg(feature = "progress")]
    bar: indicatif::ProgressBar,
}

impl Progress {
    /// A bar of `steps` steps.
    pub fn new(label: impl Into<String>, steps: usize) -> Progress {
        let label = label.into();
        #[cfg(feature = "progress")]
        {
            let bar = indicatif::ProgressBar::new(steps as u64);
            let style = indicatif::ProgressStyle::with_template(
                "{prefix} {bar:30} {pos}/{len} [{elapsed}<{eta}] {msg}",
            );
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar.set_prefix(label);
            Progress { bar }
        }
        #[cfg(not(feature = "progress"))]
        {
            let _ = (label, steps);
            Progress {}
        }
    }

    /// One step is done; `message` stands beside the bar.
    pub fn step(&self, message: impl Into<String>) {
        let message = message.into();
        #[cfg(feature = "progress")]
        {
            self.bar.set_message(message);
            self.bar.inc(1);
        }
        #[cfg(not(feature = "progress"))]
        let _ = message;
    }

    /// Takes the bar away.
    pub fn finish(self) {
        #[cfg(feature = "progress")]
        self.bar.finish_and_clear();
    }
}

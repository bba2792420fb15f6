//! What is in the files: marks, lines, texts, pixels; and bad input.

use std::io::Read;

use kiln_autograd::{DType, Result, Tensor, tensor};
use kiln_plot::{Animator, Color, Colormap, Figure, show_images};

/// How often a piece of text occurs.
fn count(svg: &str, piece: &str) -> usize {
    svg.matches(piece).count()
}

/// Width, height and the pixels of a PNG file, read by the format's definition.
fn decode(png: &[u8]) -> (usize, usize, Vec<u8>) {
    assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes")) as usize;
    assert_eq!((number(8), &png[12..16], &png[24..29]), (13, &b"IHDR"[..], &[8u8, 2, 0, 0, 0][..]));
    let (width, height, length) = (number(16), number(20), number(33));
    assert_eq!(&png[37..41], b"IDAT");
    let mut crc = flate2::Crc::new();
    crc.update(&png[37..41 + length]);
    assert_eq!(crc.sum() as usize, number(41 + length));
    assert_eq!(&png[png.len() - 8..], b"IEND\xae\x42\x60\x82");
    let mut lines = Vec::new();
    flate2::read::ZlibDecoder::new(&png[41..41 + length]).read_to_end(&mut lines).expect("a stream");
    assert_eq!(lines.len(), height * (1 + 3 * width));
    let pixels = lines.chunks(1 + 3 * width).flat_map(|line| line[1..].to_vec()).collect();
    (width, height, pixels)
}

#[test]
fn curves_and_dots_are_in_the_file() -> Result<()> {
    let x = Tensor::linspace(0.0, 4.0, 5);
    let mut figure = Figure::new();
    figure.plot(&x, &x.square()?)?.label("square").color(Color::RED);
    figure.plot([0.0, 4.0], vec![16.0, 0.0])?.label("down").dashed();
    figure.scatter(&x, &x)?.size(4);
    figure.title("A title").xlabel("time").ylabel("height").legend().grid();
    figure.text(1.0, 12.0, "Loss=0.5");
    let svg = figure.to_svg()?;
    assert_eq!(count(&svg, "<circle"), 5);
    for text in ["A title", "time", "height", "square", "down", "Loss=0.5"] {
        assert!(svg.contains(text), "{text}");
    }
    assert!(svg.contains("#FF0000"));
    // Without legend() labels are not shown.
    figure.legend();
    let mut plain = Figure::new();
    plain.plot(&x, &x)?.label("hidden");
    assert!(!plain.to_svg()?.contains("hidden"));
    Ok(())
}

#[test]
fn what_is_not_finite_is_left_out() -> Result<()> {
    let y = [0.0, 1.0, f64::NAN, 3.0, 4.0, f64::INFINITY, 6.0];
    let x: Vec<f64> = (0..7).map(f64::from).collect();
    let lines = |y: &[f64]| -> Result<usize> {
        let mut figure = Figure::new();
        figure.plot(&x, y)?.color(Color(1, 2, 3));
        Ok(count(&figure.to_svg()?, "stroke=\"#010203\""))
    };
    assert_eq!(lines(&x)?, 1);
    // A single point between two gaps is no line.
    assert_eq!(lines(&y)?, 2);
    let mut figure = Figure::new();
    figure.scatter(&x, y)?;
    assert_eq!(count(&figure.to_svg()?, "<circle"), 5);
    // On a logarithmic axis neither zero nor what is below it has a place.
    figure.log_y();
    assert_eq!(count(&figure.to_svg()?, "<circle"), 4);
    let mut nothing = Figure::new();
    nothing.plot([f64::NAN], [f64::NAN])?;
    nothing.scatter([0.0; 0], [0.0; 0])?;
    assert!(nothing.to_svg()?.contains("</svg>"));
    Ok(())
}

#[test]
fn numbers_of_any_size_have_axes() -> Result<()> {
    for y in [[0.0, 0.0], [1e16, 1e16 + 2.0], [1e-320, 2e-320], [-1e300, 1e300], [5.0, 5.0]] {
        let mut figure = Figure::new();
        figure.plot([0.0, 1.0], y)?;
        assert!(figure.to_svg()?.contains("</svg>"), "{y:?}");
    }
    let mut figure = Figure::new();
    figure.plot([0.0, 1.0], [-f64::MAX, f64::MAX])?;
    assert!(figure.to_svg().is_err());
    let mut figure = Figure::new();
    figure.plot([1.0, 2.0], [1e-8, 1e2])?;
    figure.log_y();
    let svg = figure.to_svg()?;
    assert!(svg.contains("1e-8") && svg.contains("100"), "{svg}");
    Ok(())
}

#[test]
fn pictures_keep_their_pixels() -> Result<()> {
    let corners = tensor!([[[255u8, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]);
    let mut figure = Figure::new().figsize(1.0, 1.0)?;
    figure.imshow(&corners, Colormap::Gray)?;
    let (width, height, pixels) = decode(&figure.to_png()?);
    assert_eq!((width, height), (100, 100));
    let at = |x: usize, y: usize| &pixels[3 * (y * width + x)..][..3];
    assert_eq!([at(25, 25), at(75, 25), at(25, 75)], [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
    // Channels first, and grey levels from the smallest to the largest number.
    let first = corners.permute(&[2, 0, 1])?;
    let mut other = Figure::new().figsize(1.0, 1.0)?;
    other.imshow(&first, Colormap::Gray)?;
    assert_eq!(other.to_png()?, figure.to_png()?);
    let mut grey = Figure::new().figsize(1.0, 1.0)?;
    grey.imshow(&tensor!([[-1.0, 1.0], [0.0, f64::NAN]]), Colormap::Gray)?;
    let (_, _, pixels) = decode(&grey.to_png()?);
    let at = |x: usize, y: usize| pixels[3 * (y * 100 + x)];
    assert_eq!([at(25, 25), at(75, 25), at(25, 75), at(75, 75)], [0, 255, 128, 255]);
    assert!(figure.imshow(&Tensor::zeros([2, 2, 2]), Colormap::Gray).is_err());
    assert!(figure.imshow(&Tensor::zeros([2]), Colormap::Gray).is_err());
    // No pixels are no error.
    figure.imshow(&Tensor::zeros([0, 3]), Colormap::Gray)?;
    assert!(figure.to_svg()?.contains("</svg>"));
    Ok(())
}

#[test]
fn images_fill_a_grid_row_by_row() -> Result<()> {
    let images = Tensor::zeros_with([3, 2, 2], DType::U8).unbind(0)?;
    let figure = show_images(&images, 2, 2, &["one", "two", "three"], Colormap::Viridis)?;
    let svg = figure.to_svg()?;
    let places: Vec<Option<usize>> = ["one", "two", "three"].iter().map(|t| svg.find(t)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted());
    // Three images of one colour (each row a rectangle) on the background.
    assert_eq!(count(&svg, "<rect"), 1 + 3 * 2);
    assert!(show_images(&images, 1, 2, &[], Colormap::Viridis).is_err());
    assert!(show_images(&images, 1, 3, &[], Colormap::Viridis).is_ok());
    Ok(())
}

#[test]
fn frames_replace_each_other() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("kiln-plot-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("live.svg");
    let mut animator = Animator::new(&["train loss", "train acc", "test acc"]).path(&path);
    animator.axes().xlabel("epoch").xlim(1.0, 10.0)?.ylim(0.3, 0.9)?;
    for epoch in 1..=4 {
        let e = f64::from(epoch);
        animator.add(e, &[Some(0.9 - 0.1 * e), Some(0.5 + 0.05 * e), None])?;
    }
    let last = std::fs::read_to_string(&path).expect("the last frame");
    assert_eq!(last, animator.figure().to_svg()?);
    assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 1);
    assert!(animator.add(5.0, &[None]).is_err());
    std::fs::remove_dir_all(&folder).expect("the folder");
    Ok(())
}

#[test]
fn misuse_is_told() -> Result<()> {
    let told = |e: kiln_autograd::Error, text: &str| assert!(e.to_string().contains(text), "{e}");
    let mut figure = Figure::new();
    let different = figure.plot([1.0, 2.0, 3.0], [1.0, 2.0]).map(drop).expect_err("different lengths");
    told(different, "x and y must have same first dimension, but have shapes (3,) and (2,)");
    assert!(figure.xlim(1.0, 1.0).is_err() && figure.ylim(f64::NAN, 1.0).is_err());
    told(figure.savefig("plot.gif").expect_err("no such format"), "Format 'gif' is not supported");
    assert!(figure.savefig("/nowhere/at/all/plot.png").is_err());
    assert!(Figure::subplots(0, 3).is_err() && Figure::subplots(usize::MAX, 2).is_err());
    assert!(Figure::new().figsize(1e9, 1.0).is_err());
    assert!(figure.at(0, 1).is_err());
    // Markup in a text stays text.
    figure.title("a < b & c");
    let svg = figure.to_svg()?;
    assert!(svg.contains("a &lt; b &amp; c"));
    Ok(())
}

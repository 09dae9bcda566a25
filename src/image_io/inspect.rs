//! What a file says that `image` doesn't pass on: whether it is whole, has more frames, or another colour space.

use std::io::Cursor;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, ImageDecoder, ImageResult, Limits};

use super::ImageFormat;

/// Whether the markers of a JPEG lead to its end-of-image marker (ITU-T T.81, section B.1).
///
/// `image` lets its JPEG decoder fill what is missing with grey; the other decoders refuse.
pub(super) fn jpeg_reaches_its_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        rest = &rest[at + 1..];
        match *rest {
            [0xd9, ..] => return true,
            // A stuffed zero, a restart or TEM marker, or padding before a marker: none has a length.
            [0x00 | 0x01 | 0xd0..=0xd7 | 0xff, ..] => {}
            [_, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(1 + length..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    false
}

/// Whether an ICC profile calls itself sRGB: in ASCII (version 2) or UTF-16 (version 4).
pub(super) fn says_srgb(profile: &[u8]) -> bool {
    profile.windows(4).any(|text| text == b"sRGB")
        || profile.windows(8).any(|text| text == b"\0s\0R\0G\0B")
}

/// Whether the file is an animation or has several pages.
pub(super) fn has_more_frames(
    bytes: &[u8],
    format: ImageFormat,
    limits: Limits,
) -> ImageResult<bool> {
    match format {
        ImageFormat::Png => PngDecoder::with_limits(Cursor::new(bytes), limits)?.is_apng(),
        ImageFormat::WebP => Ok(WebPDecoder::new(Cursor::new(bytes))?.has_animation()),
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(Cursor::new(bytes))?;
            decoder.set_limits(limits)?;
            Ok(matches!(decoder.into_frames().nth(1), Some(Ok(_))))
        }
        ImageFormat::Tiff => Ok(tiff_has_more_pages(bytes).unwrap_or(false)),
        _ => Ok(false),
    }
}

/// Whether the first directory of a TIFF links to another (TIFF 6.0, section 2).
fn tiff_has_more_pages(bytes: &[u8]) -> Option<bool> {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, length: usize| {
        let digits = bytes.get(at..at.checked_add(length)?)?.iter();
        let push = |number, &byte| number << 8 | usize::from(byte);
        Some(if little {
            digits.rev().fold(0, push)
        } else {
            digits.fold(0, push)
        })
    };
    let directory = number(4, 4)?;
    let entries = number(directory, 2)?;
    Some(number(directory + 2 + 12 * entries, 4)? != 0)
}

#[cfg(test)]
mod tests {
    use super::super::write_image;
    use super::*;
    use crate::pixels::Pixels;
    use image::codecs::gif::GifEncoder;
    use image::{Frame, Rgba, RgbaImage};

    fn written(format: ImageFormat) -> Vec<u8> {
        let bytes = (0..40 * 40 * 3).map(|i: u32| (i * i % 251) as u8);
        let noise = Pixels::from_rgb(40, 40, bytes.collect()).unwrap();
        write_image(&noise, format).unwrap()
    }

    #[test]
    fn a_jpeg_ends_at_its_marker_and_not_at_one_inside_a_segment() {
        let jpeg = written(ImageFormat::Jpeg);
        assert!(jpeg_reaches_its_end(&jpeg));
        assert!(jpeg_reaches_its_end(&[&jpeg[..], b"more"].concat()));
        let thumbnail = b"\xff\xe1\0\x06\xff\xd8\xff\xd9";
        let tagged = [&jpeg[..2], thumbnail, &jpeg[2..]].concat();
        assert!(jpeg_reaches_its_end(&tagged));
        for length in 0..tagged.len() {
            assert!(!jpeg_reaches_its_end(&tagged[..length]), "{length}");
        }
    }

    #[test]
    fn more_frames_are_seen_and_one_frame_is_not_more() {
        let frame = |value| Frame::new(RgbaImage::from_pixel(2, 2, Rgba([value; 4])));
        let more = |frames: Vec<Frame>| {
            let mut gif = Vec::new();
            GifEncoder::new(&mut gif).encode_frames(frames).unwrap();
            has_more_frames(&gif, ImageFormat::Gif, Limits::no_limits()).unwrap()
        };
        assert!(more(vec![frame(255), frame(0)]));
        assert!(!more(vec![frame(255)]));
    }

    #[test]
    fn a_link_to_a_second_directory_of_a_tiff_is_seen() {
        let mut tiff = written(ImageFormat::Tiff);
        assert_eq!(tiff_has_more_pages(&tiff), Some(false));
        let directory = u32::from_le_bytes(tiff[4..8].try_into().unwrap()) as usize;
        let link = directory + 2 + 12 * usize::from(tiff[directory]);
        tiff[link] = 8;
        assert_eq!(tiff_has_more_pages(&tiff), Some(true));
        assert_eq!(
            tiff_has_more_pages(b"MM\0*\0\0\0\x08\0\0\0\0\0\x09"),
            Some(true)
        );
        assert_eq!(tiff_has_more_pages(b"II*\0\xff\xff\xff\xff"), None);
    }

    #[test]
    fn srgb_is_seen_in_both_spellings() {
        assert!(says_srgb(b"desc sRGB IEC61966-2.1"));
        assert!(says_srgb(b"mluc\0s\0R\0G\0B\0 "));
        assert!(!says_srgb(b"mluc\0D\0i\0s\0p\0l\0a\0y\0 \0P\x003"));
    }
}

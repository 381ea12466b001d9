//! Conversion between planar order, `[image][channel][y][x]`, and blocks of 16 channels, at the edges of a
//! network and in front of dense layers.

use crate::map::{LANES, Map, MapMut, blocks};

/// Copies `planar`, an array `[image][channel][y][x]` of `channels` channels, into the map `out`, whose shape
/// gives the number of images, their height and their width. Lanes of the last block that have no channel
/// become zero.
///
/// # Panics
/// If `planar` has the wrong length, or the number of the map's blocks is not [`blocks`]`(channels)`.
pub fn from_planar(planar: &[f32], channels: usize, mut out: MapMut) {
    let (batch, pixels) = (out.shape.batch, out.shape.pixels());
    assert_eq!(planar.len(), batch * channels * pixels, "planar values do not fit {:?}", out.shape);
    assert_eq!(out.count, blocks(channels), "blocks for {channels} channels");
    for image in 0..batch {
        for block in 0..out.count {
            let plane = out.plane(image, block);
            let first = block * LANES;
            for lane in 0..LANES {
                let Some(channel) = Some(first + lane).filter(|channel| *channel < channels) else {
                    plane.iter_mut().skip(lane).step_by(LANES).for_each(|value| *value = 0.0);
                    continue;
                };
                let from = &planar[(image * channels + channel) * pixels..][..pixels];
                for (to, from) in plane.iter_mut().skip(lane).step_by(LANES).zip(from) {
                    *to = *from;
                }
            }
        }
    }
}

/// Copies a map of `channels` channels, of whose blocks only the last may be partly unused, into `out`, an
/// array `[image][channel][y][x]`.
///
/// # Panics
/// If `out` has the wrong length, or the number of the map's blocks is not [`blocks`]`(channels)`.
pub fn to_planar(map: Map, channels: usize, out: &mut [f32]) {
    let (batch, pixels) = (map.shape.batch, map.shape.pixels());
    assert_eq!(out.len(), batch * channels * pixels, "planar values do not fit {:?}", map.shape);
    assert_eq!(map.count, blocks(channels), "blocks for {channels} channels");
    for image in 0..batch {
        for channel in 0..channels {
            let plane = map.plane(image, channel / LANES);
            let to = &mut out[(image * channels + channel) * pixels..][..pixels];
            for (to, from) in to.iter_mut().zip(plane.iter().skip(channel % LANES).step_by(LANES)) {
                *to = *from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::Shape;

    #[test]
    fn there_and_back_with_zero_padding() {
        for channels in [1, 15, 16, 17, 40] {
            let shape = Shape { batch: 2, blocks: blocks(channels) + 1, height: 3, width: 5 };
            let planar: Vec<f32> = (0..2 * channels * 15).map(|i| i as f32 + 1.0).collect();
            let mut data = vec![-7.0; shape.len()];
            from_planar(&planar, channels, MapMut::slice(&mut data, shape, 1, blocks(channels)));
            let mut back = vec![0.0; planar.len()];
            to_planar(Map::slice(&data, shape, 1, blocks(channels)), channels, &mut back);
            assert_eq!(planar, back);
            let map = Map::slice(&data, shape, 1, blocks(channels));
            assert!(
                map.data[..shape.plane()].iter().all(|value| *value == -7.0),
                "a neighbour's block is touched"
            );
            for image in 0..2 {
                for (i, value) in map.plane(image, map.count - 1).iter().enumerate() {
                    assert_eq!(*value == 0.0, (map.count - 1) * LANES + i % LANES >= channels);
                }
            }
        }
    }
}

//! LZ4 blocks (lz4_Block_format.md of the LZ4 project): literals and copies from up to 64 KiB before.
//!
//! Input and output are bounded by their slices, and each turn takes a byte of the input.

/// Copied at once where there is room: most literals and copies are no longer.
const CHUNK: usize = 16;
/// The shortest copy.
const COPY_MIN: usize = 4;

/// Fills `output` with what the bytes that `input` begins with become; says how many of the input were not needed. `None`: they are no
/// LZ4 block, or give less.
#[must_use]
pub fn decompress(input: &[u8], output: &mut [u8]) -> Option<usize> {
    let (mut from, mut to) = (0, 0);
    while to < output.len() {
        let token = *input.get(from)?;
        from += 1;
        let mut literals = usize::from(token >> 4);
        if literals == 15 {
            literals += extension(input, &mut from)?;
        }
        literals = literals.min(output.len() - to);
        copy_literals(input, from, output, to, literals)?;
        (from, to) = (from + literals, to + literals);
        if to == output.len() {
            break;
        }
        let [low, high] = *input.get(from..)?.first_chunk()?;
        from += 2;
        let distance = usize::from(u16::from_le_bytes([low, high]));
        if distance == 0 || distance > to {
            return None;
        }
        let mut length = usize::from(token & 15);
        if length == 15 {
            length += extension(input, &mut from)?;
        }
        let length = (length + COPY_MIN).min(output.len() - to);
        copy_back(output, to, distance, length);
        to += length;
    }
    Some(input.len() - from)
}

/// The rest of a length: bytes are added up to the first that is not 255.
fn extension(input: &[u8], from: &mut usize) -> Option<usize> {
    let mut sum = 0;
    loop {
        let byte = *input.get(*from)?;
        *from += 1;
        sum += usize::from(byte);
        if byte != u8::MAX {
            return Some(sum);
        }
    }
}

fn copy_literals(input: &[u8], from: usize, output: &mut [u8], to: usize, count: usize) -> Option<()> {
    if count <= CHUNK
        && let Some(chunk) = input.get(from..).and_then(|rest| rest.first_chunk::<CHUNK>())
        && let Some(target) = output.get_mut(to..).and_then(|rest| rest.first_chunk_mut::<CHUNK>())
    {
        // What is too much is written over by what follows.
        *target = *chunk;
        return Some(());
    }
    output.get_mut(to..to + count)?.copy_from_slice(input.get(from..from + count)?);
    Some(())
}

/// Copies `count` bytes from `distance` before `to`, which is in the output whole; source and target may overlap, then the source repeats.
fn copy_back(output: &mut [u8], to: usize, distance: usize, count: usize) {
    let start = to - distance;
    if count <= CHUNK
        && distance >= CHUNK
        && let Some(&chunk) = output[start..].first_chunk::<CHUNK>()
        && let Some(target) = output[to..].first_chunk_mut::<CHUNK>()
    {
        *target = chunk;
        return;
    }
    let mut done = 0;
    while done < count {
        // All that lies between the source's start and here repeats: twice as much each time.
        let step = (distance + done).min(count - done);
        output.copy_within(start..start + step, to + done);
        done += step;
    }
}

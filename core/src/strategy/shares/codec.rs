//! The encoded form of a shared limit.

use super::member::Member;
use super::{Row, Shares};
use crate::Timestamp;
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{DecodeError, Label, Reader, State, Writer};

serde_as_bytes!([const N: usize, const TAG: u8] Shares<N, TAG>);

impl<const N: usize, const TAG: u8> State for Shares<N, TAG> {
    const FRESH: Self = Self { at: Timestamp::EPOCH, rows: [Row::IDLE; N], other: Member::IDLE };
    const MAX_LEN: usize = 1 + 8 + Member::LEN + 4 + N * (4 + Member::LEN);

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(TAG);
        out.u64(self.at.as_micros());
        self.other.encode(out);
        let rows = || self.rows.iter().take_while(|row| !row.member.is_idle());
        out.u32(rows().count() as u32);
        for row in rows() {
            out.u32(row.label.0);
            row.member.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // Regions have no weights, so 1 is the heaviest.
        let heaviest = if TAG == tags::REGIONS { 1 } else { u16::MAX };
        input.tag(TAG)?;
        let at = Timestamp::from_micros(input.u64()?);
        let mut table = Self { at, other: Member::decode(input, heaviest)?, ..Self::default() };
        for next in 0..input.u32()? as usize {
            let row = Row { label: Label(input.u32()?), member: Member::decode(input, heaviest)? };
            let is_known = table.rows.iter().take(next).any(|known| known.label == row.label);
            let slot = table.rows.get_mut(next).filter(|_| !is_known && !row.member.is_idle());
            *slot.ok_or(DecodeError)? = row;
        }
        // A state has one encoded form: rows in use come first, and a state without any is the default.
        let mut tidy = table;
        tidy.tidy();
        if tidy == table { Ok(table) } else { Err(DecodeError) }
    }
}

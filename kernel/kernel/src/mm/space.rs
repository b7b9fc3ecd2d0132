//! Address spaces.
#[derive(Debug)]
pub struct AddressSpace;
impl AddressSpace {
    pub fn activate(&self) {}
}

//! Memory: physical pages, the kernel's heap and mappings, address spaces, and copies to and from users.

pub mod frames;
pub mod heap;
pub mod kmap;
pub mod layout;
mod page;

pub use page::PageRef;

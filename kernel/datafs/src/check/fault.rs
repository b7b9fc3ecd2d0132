//! What a check can find, by name.

macro_rules! faults {
    ($($name:ident $text:literal $words:literal,)*) => {
        /// What is wrong, by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $(#[doc = $words] $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// A stable name, for programs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)*
                }
            }
        }
    };
}

faults! {
    NotDatafs "not-datafs" "neither superblock has the magic SWDATAFS",
    Superblock "superblock" "no copy of the superblock is whole",
    SuperblockCopy "superblock-copy" "one copy of the superblock is damaged; the other is used",
    SuperblockDiffers "superblock-differs" "the copies of the superblock differ in what never changes",
    SuperblockStale "superblock-stale" "the only whole superblock is older than the log: a newer one was lost",
    Features "features" "the volume needs features that are not known",
    DeviceSize "device-size" "the volume is larger than the device",
    Unreadable "unreadable" "the device does not give a block",
    Memory "memory" "there is not enough memory to replay the log",
    LogRecord "log-record" "a record of the log has a good checksum and makes no sense",
    LogGap "log-gap" "a record of the log is damaged, for later ones are whole: what they hold is lost",
    LogHome "log-home" "a block that the log has parts of is damaged at its place",
    GroupBlock "group-block" "a group's block of bitmaps is damaged",
    GroupStatic "group-static" "blocks of bitmaps or inodes are free in the bitmap",
    GroupEnd "group-end" "bits behind the end of the volume or of the inodes are set",
    GroupUsedBlocks "group-used-blocks" "a group's count of used blocks is not that of its bitmap",
    GroupUsedInodes "group-used-inodes" "a group's count of used inodes is not that of its bitmap",
    BlockLeaked "block-leaked" "a block is used in the bitmap and belongs to nothing",
    BlockUnmarked "block-unmarked" "a block in use is free in the bitmap",
    BlockShared "block-shared" "a block is used twice",
    InodeChecksum "inode-checksum" "an inode's checksum is wrong",
    InodePlace "inode-place" "an inode says that it is another",
    InodeFields "inode-fields" "an inode's fields have undefined values",
    InodeLeaked "inode-leaked" "an inode is used in the bitmap and is free",
    InodeUnmarked "inode-unmarked" "an inode in use is free in the bitmap",
    InodeBlocks "inode-blocks" "an inode's count of blocks is not what it has",
    InodeUnnamed "inode-unnamed" "an inode in use has no name and is no orphan",
    Links "links" "an inode's count of links is not that of its names",
    NodeBlock "node-block" "a node of a tree is damaged",
    NodeOwner "node-owner" "a node of a tree belongs to another inode",
    NodeKeys "node-keys" "keys of a tree are not in order",
    Pointer "pointer" "a tree leads outside the volume's data",
    ExtentEmpty "extent-empty" "an extent has no blocks",
    ExtentOverlap "extent-overlap" "extents of a file overlap",
    ExtentRange "extent-range" "an extent lies behind the last block that a file can have",
    ExtentBehindEnd "extent-behind-end" "a file has written blocks behind its end",
    NamesBlock "names-block" "a block of a directory is damaged",
    NamesOwner "names-owner" "a block of names belongs to another directory",
    NameHash "name-hash" "a name does not have the hash that is recorded",
    NamePlace "name-place" "a name is not in the block where it is looked for",
    NameOrder "name-order" "two names have the same place in their directory's order",
    NameTwice "name-twice" "a directory has a name twice",
    NameDangling "name-dangling" "a name leads to an inode that is not in use",
    NameKind "name-kind" "a name has another type than its inode",
    DirectorySize "directory-size" "a directory's size is not that of its blocks",
    DirectoryParent "directory-parent" "a directory's parent ('..') is not the one that names it",
    DirectoryNames "directory-names" "a directory has more than one name",
    DirectoryLost "directory-lost" "a directory has no name",
    DirectoryRing "directory-ring" "directories are in each other: the root does not lead to them",
    Root "root" "there is no root directory",
    OrphanUnused "orphan-unused" "the list of orphans leads to an inode that is not in use",
    OrphanLoop "orphan-loop" "the list of orphans comes back to itself",
    OrphanBack "orphan-back" "an orphan does not lead back to the one before it",
    OrphanFlag "orphan-flag" "an inode in the list of orphans is not marked as one",
    OrphanLost "orphan-lost" "an inode is marked as an orphan and not in their list",
    OrphanKind "orphan-kind" "an orphan has names and no truncation to finish",
    OrphanFull "orphan-full" "a removed directory has names in it",
    LinkTarget "link-target" "the target of a symbolic link is damaged",
    Xattrs "xattrs" "a block of extended attributes is damaged",
    XattrTwice "xattr-twice" "an inode has an extended attribute twice",
    QuotaTable "quota-table" "there is no table of quotas",
    QuotaBlock "quota-block" "a block of the table of quotas is damaged",
    QuotaUse "quota-use" "a quota's count is not what its inodes have",
    StateBlocks "state-blocks" "the volume's count of used blocks is not that of its groups",
    StateInodes "state-inodes" "the volume's count of used inodes is not that of its groups",
}

"""What a host mounts by hand (fstab, autofs maps, libvirt's pools) turned into sections of /etc/kvmontap.conf.

Readers (fstab, autofs, libvirtpools) give entries; `draft` turns an entry into a section or says why not; `text` writes sections and
merges them into a file.  All pure but `files`.
"""

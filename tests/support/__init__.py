"""What tests of several concepts share: an emulator of the bucket, a faulty network, children to kill."""

"""What travels between this client and Yeedu, and how it is read: nothing here moves a byte."""

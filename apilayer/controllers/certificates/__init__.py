"""CertificateSigningRequests: approved where the roles say so, signed once approved, removed in the end."""

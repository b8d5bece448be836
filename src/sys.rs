//! System calls that neither std nor nix wraps. The only module with `unsafe`.

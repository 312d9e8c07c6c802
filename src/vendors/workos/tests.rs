//! Every call and every answer of WorkOS, against a scripted listener.

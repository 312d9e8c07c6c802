//! Every call and every answer of ChatBotKit.

//! What a text that is not YAML is told about itself.
//!
//! The scanner's own messages are not handed on: one of them quotes a character of the file today,
//! and nothing keeps a later release from quoting more. Only sentences written here reach a log.

use granit_parser::ErrorKind as E;

/// Safe words for what the scanner met.
pub(crate) fn sentence(kind: &E) -> &'static str {
    match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabAtBlockScalarStart
        | E::TabInPlainScalar => "a tab where only spaces may stand",
        E::UnclosedQuotedScalar | E::DocumentIndicatorInQuotedScalar => {
            "a quote is opened and not closed"
        }
        E::InvalidTrailingSingleQuotedScalar | E::InvalidTrailingDoubleQuotedScalar => {
            "something follows a closing quote"
        }
        E::UnclosedFlowCollection { .. }
        | E::UnexpectedEofFlowSequence
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping
        | E::MismatchedFlowCollectionEnd { .. }
        | E::MisplacedFlowCollectionEnd => "brackets do not match",
        E::ExpectedFlowMappingSeparator | E::ExpectedFlowSequenceSeparator => {
            "a comma or a closing bracket is missing"
        }
        E::UnknownQuotedScalarEscape
        | E::InvalidQuotedScalarHexEscape
        | E::InvalidLowSurrogateHexEscape
        | E::InvalidLowSurrogate
        | E::MissingLowSurrogate
        | E::UnpairedLowSurrogate
        | E::InvalidUnicodeEscape => "an unknown escape after a backslash in double quotes",
        E::SimpleKeyExpected | E::InvalidSimpleKey => "a colon is missing after a key",
        E::MappingValueNotAllowed | E::InvalidColonPlacement | E::InvalidMappingValueWhitespace => {
            "a colon where none may stand; quote a value that holds one"
        }
        E::ExpectedBlockMappingKey
        | E::ExpectedBlockSequenceEntry
        | E::InvalidIndentation
        | E::InvalidBlockScalarIndent
        | E::InvalidQuotedScalarIndent
        | E::InvalidFlowScalarIndent
        | E::BlockSequenceEntryNotAllowed
        | E::MappingKeyNotAllowed => "the indentation does not fit what stands above",
        E::UnexpectedCharacter { .. } => {
            "a value starts with a character that is reserved; quote it"
        }
        E::UnknownAnchor => "an alias names an anchor that is not there",
        E::MissingAnchorOrAliasName => {
            "an anchor or alias without a name; quote a value with & or *"
        }
        E::ExpectedDocumentStart => "something follows the end of a document; separate with ---",
        E::BomInsideDocument => "a byte order mark inside a document",
        E::InvalidBlockScalarHeader | E::ZeroBlockScalarIndent => {
            "something follows the | or > of a block"
        }
        E::UndeclaredTagHandle
        | E::InvalidGlobalTagCharacter
        | E::InvalidTagTerminator
        | E::MissingTagUri
        | E::UnclosedVerbatimTag
        | E::InvalidTagEscape => "a tag that is none; quote a value that starts with !",
        E::RecursionLimitExceeded => "it is nested too deep",
        _ => "it is not well-formed",
    }
}

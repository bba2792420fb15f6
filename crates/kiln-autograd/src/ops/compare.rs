//! Comparisons, bit operations and questions about elements: methods without a derivative.

use kiln_ops::elementwise::{self as e, CompareOp, IntOp, TestOp};

use crate::arg::Arg;
use crate::{Here, Result, Tensor, inplace};

/// Methods without a derivative.
macro_rules! plain_methods {
    (compare { $($(#[$cdoc:meta])* $cname:ident $cname_:ident: $ccode:ident;)* }
     int { $($(#[$idoc:meta])* $iname:ident $iname_:ident: $icode:ident;)* }
     test { $($(#[$tdoc:meta])* $tname:ident: $tcode:ident;)* }) => {
        impl Tensor {
            $($(#[$cdoc])*
            ///
            /// # Errors
            /// Shapes that do not broadcast or different devices.
            #[track_caller]
            pub fn $cname<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
                self.compare(CompareOp::$ccode, other.into())
            }

            #[doc = concat!("In-place form of [`Tensor::", stringify!($cname), "`]: 1 and 0 in this tensor's dtype.")]
            ///
            /// # Errors
            /// As the out-of-place form; a leaf that requires grad.
            #[track_caller]
            pub fn $cname_<'a>(&self, other: impl Into<Arg<'a>>) -> Result<()> {
                inplace::check(stringify!($cname_), self)?;
                other.into().with(|o| e::compare_in_place(CompareOp::$ccode, &*self.raw(), o)).here()
            })*

            $($(#[$idoc])*
            ///
            /// # Errors
            /// Floating point operands, shapes that do not broadcast or different devices.
            #[track_caller]
            pub fn $iname<'a>(&self, other: impl Into<Arg<'a>>) -> Result<Tensor> {
                Ok(Tensor::from_raw(other.into().with(|o| e::int_binary(IntOp::$icode, &*self.raw(), o)).here()?))
            }

            #[doc = concat!("In-place form of [`Tensor::", stringify!($iname), "`].")]
            ///
            /// # Errors
            /// As the out-of-place form; a result that does not fit the shape or dtype.
            #[track_caller]
            pub fn $iname_<'a>(&self, other: impl Into<Arg<'a>>) -> Result<()> {
                other.into().with(|o| e::int_binary_in_place(IntOp::$icode, &*self.raw(), o)).here()
            })*

            $($(#[$tdoc])*
            ///
            /// # Errors
            /// Memory that is lent out or not there.
            #[track_caller]
            pub fn $tname(&self) -> Result<Tensor> {
                Ok(Tensor::from_raw(e::test(TestOp::$tcode, &self.raw()).here()?))
            })*
        }
    };
}

plain_methods! {
    compare {
    /// `self == other`, elementwise, as bool (`torch.eq`).
    eq eq_: Eq;
    /// `self != other`, elementwise, as bool (`torch.ne`).
    ne ne_: Ne;
    /// `self < other`, elementwise, as bool (`torch.lt`).
    lt lt_: Lt;
    /// `self <= other`, elementwise, as bool (`torch.le`).
    le le_: Le;
    /// `self > other`, elementwise, as bool (`torch.gt`).
    gt gt_: Gt;
    /// `self >= other`, elementwise, as bool (`torch.ge`).
    ge ge_: Ge;
    /// Whether both are not zero, elementwise (`torch.logical_and`).
    logical_and logical_and_: LogicalAnd;
    /// Whether either is not zero, elementwise (`torch.logical_or`).
    logical_or logical_or_: LogicalOr;
    /// Whether exactly one is not zero, elementwise (`torch.logical_xor`).
    logical_xor logical_xor_: LogicalXor;
    }
    int {
    /// Bits set in both (`torch.bitwise_and`).
    bitwise_and bitwise_and_: BitAnd;
    /// Bits set in either (`torch.bitwise_or`).
    bitwise_or bitwise_or_: BitOr;
    /// Bits set in one (`torch.bitwise_xor`).
    bitwise_xor bitwise_xor_: BitXor;
    /// Bits moved up by `other` places (`torch.bitwise_left_shift`).
    bitwise_left_shift bitwise_left_shift_: ShiftLeft;
    /// Bits moved down by `other` places (`torch.bitwise_right_shift`).
    bitwise_right_shift bitwise_right_shift_: ShiftRight;
    /// Greatest common divisor (`torch.gcd`).
    gcd gcd_: Gcd;
    /// Least common multiple (`torch.lcm`).
    lcm lcm_: Lcm;
    }
    test {
    /// Where elements are not a number (`torch.isnan`).
    isnan: IsNan;
    /// Where elements are infinite (`torch.isinf`).
    isinf: IsInf;
    /// Where elements are neither infinite nor not a number (`torch.isfinite`).
    isfinite: IsFinite;
    /// Where elements are plus infinity (`torch.isposinf`).
    isposinf: IsPosInf;
    /// Where elements are minus infinity (`torch.isneginf`).
    isneginf: IsNegInf;
    /// Where elements have their sign bit set (`torch.signbit`).
    signbit: SignBit;
    /// Where elements are zero (`torch.logical_not`).
    logical_not: LogicalNot;
    }
}
